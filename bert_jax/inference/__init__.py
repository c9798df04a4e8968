"""Models that answer: texts in, labels, spans, words or vectors out."""
