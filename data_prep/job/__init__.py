"""Run the preparation job: parts, workers, shards, and resuming after a stop."""
