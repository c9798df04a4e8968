"""Prediction: labels, numbers, spans, words or vectors for texts."""
