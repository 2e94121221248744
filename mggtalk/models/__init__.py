"""The MGGTalk predictor: one module per box of the data flow in METHOD, composed in `predictor.py`."""
