"""Needs and costs of a training step on hardware that is not here, from the program that is compiled for it."""
