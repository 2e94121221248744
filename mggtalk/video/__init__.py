"""Probes video files, decodes their frames at a constant rate, reads their audio, and encodes videos."""
