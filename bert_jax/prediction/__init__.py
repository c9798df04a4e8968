"""Inputs and outputs of `bert-jax predict`: files of rows, and files of predictions."""
