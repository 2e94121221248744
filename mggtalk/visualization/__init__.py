"""Draws what shards and models hold: panels, figures, point clouds."""
