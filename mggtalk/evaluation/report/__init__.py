"""Writes the HTML report of an evaluation."""
