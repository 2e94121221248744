"""Estimates depth and normals of the head in images."""
