"""Head shape, head pose and landmark sets in canonical space."""
