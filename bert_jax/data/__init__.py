"""Data for training and prediction. NumPy only."""
