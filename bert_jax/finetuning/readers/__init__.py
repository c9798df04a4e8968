"""Readers of labelled data, one a kind of task: files to encoded examples and a function that scores them."""
