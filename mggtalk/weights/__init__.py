"""The table of model weights (each with size, licence, SHA-256 and sources), and pinned downloads."""
