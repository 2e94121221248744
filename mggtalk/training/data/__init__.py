"""Selects, loads and augments the frame pairs of training."""
