"""How files of rows and of text are opened, decoded and parsed: alike in every verb, prep and predict. No JAX."""
