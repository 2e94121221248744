"""Finds out who is in each clip, from face embeddings and labels."""
