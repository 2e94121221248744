"""Cameras, rigid transforms, alignment, normals and symmetric clouds: pure functions, no models and no files."""
