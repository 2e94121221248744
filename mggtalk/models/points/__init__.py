"""Points of a head: how they start, what they are attached to, and how lists of them are packed."""
