"""The MGGTalk predictor: one module per box of the paper's data flow, composed in `predictor.py`."""
