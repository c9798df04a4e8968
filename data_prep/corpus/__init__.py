"""Inputs to documents and sentences: sources, parts, and one reader a format."""
