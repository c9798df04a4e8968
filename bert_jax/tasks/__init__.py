"""Tasks: a model with its loss and scores. The loop in bert_jax.train runs any of them."""
