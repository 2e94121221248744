"""Where the project lies, for tests that start it or read its files."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The folder of `pyproject.toml`."""
