"""The only users of Ray, DVC and Pebble: stages and training run here, isolated, resumable, and with progress."""
