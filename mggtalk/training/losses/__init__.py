"""Computes the terms of the training loss."""
