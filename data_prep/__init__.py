"""Turn text into masked pre-training shards and vocabularies. No JAX."""
