"""Writes shards: stages finished clips, and lays them out in a prefix tree."""
