"""Labelled rows: files, labels, splits, and the formats of GLUE, SQuAD and CoNLL."""
