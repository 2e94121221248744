"""Trains the predictor; knows no Ray: whoever starts it says which worker of how many it is."""
