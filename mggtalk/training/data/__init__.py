"""Chooses, loads and augments the frame pairs that training sees."""
