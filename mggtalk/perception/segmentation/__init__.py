"""Masks the head in images."""
