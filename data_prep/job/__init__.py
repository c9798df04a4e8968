"""The preparation job: parts, workers, shards, and going on after a stop."""
