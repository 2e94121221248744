"""The networks of the predictor, one module for each box of the paper's data flow."""
