"""Pre-training examples: the record in the shards, masking, and batches by step."""
