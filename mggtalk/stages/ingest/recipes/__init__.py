"""Recipes: one module for each kind, and the reader that chooses among them."""
