"""Opening, decoding and parsing of files of rows and text, shared by `prep`, training and prediction. No JAX."""
