"""Trains the predictor, without Ray: the caller gives each worker its rank."""
