"""Checks a data set of shards to its last byte."""
