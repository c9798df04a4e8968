"""Check and show a folder of shards."""
