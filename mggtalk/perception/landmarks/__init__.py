"""Finds faces, and measures landmarks, expression and hands in images."""
