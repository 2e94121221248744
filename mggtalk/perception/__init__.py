"""What is seen in a frame: landmarks, expression, head mask, depth. One small class per backend behind one protocol."""
