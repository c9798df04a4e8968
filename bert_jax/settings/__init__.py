"""The settings of the verbs. Importing them brings no NumPy and no JAX, so that --help and mistakes take no time."""
