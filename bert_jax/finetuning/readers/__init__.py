"""Readers of labelled data, one for each kind of task: they encode files and score outputs."""
