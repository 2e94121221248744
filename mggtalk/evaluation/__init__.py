"""Scores a trained model on held-out clips beside two baselines, and writes the figures, the plots and the report."""
