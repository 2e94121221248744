"""Scores a trained head against held-out clips and two baselines, and writes the figures, the plots and the report."""
