"""Points of a head: how they are initialised, bound to the face's surface, and packed into lists."""
