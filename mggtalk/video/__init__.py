"""Video and audio files: what is in them, their frames at a constant rate, their sound, and writing them."""
