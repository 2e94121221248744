"""Encodes and decodes the members of a sample: images, arrays, clouds, tracks."""
