"""What comes from outside: model weights and sample files, each named with its size, licence, SHA-256 and sources."""
