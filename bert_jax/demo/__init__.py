"""`bert-jax demo`: a corpus, a labelled task and a report made of nothing but what is installed. Never imports JAX."""
