"""Reads byte ranges of shards on disk or behind URLs, and keeps pages of remote files."""
