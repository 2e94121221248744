"""Describes a data set for people: card, statistics, example images."""
