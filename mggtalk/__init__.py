"""mggtalk: videos in; shareable shards, a trained Gaussian talking-head predictor and a report out."""

__version__ = "0.1.0"
