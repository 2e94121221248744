"""Measures frames: landmarks, expression, head mask, depth, identity, shot cuts; one small class per backend."""
