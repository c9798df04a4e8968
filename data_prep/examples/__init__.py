"""Tokenised documents to pre-training examples of each kind."""
