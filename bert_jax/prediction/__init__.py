"""Inputs and outputs of `bert-jax predict`: files of rows in, files of answers out."""
