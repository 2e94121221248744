"""Reads byte ranges of shards on disk or behind URLs, and caches pages of remote files."""
