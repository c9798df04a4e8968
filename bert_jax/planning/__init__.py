"""What a training step needs and costs on hardware that is not here, from the program that is compiled for it."""
