"""Model, loss and scores of one job each. The loop in bert_jax.train runs any of them."""
