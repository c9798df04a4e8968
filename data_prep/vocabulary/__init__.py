"""Train vocabularies on a sample of a corpus, and compare them."""
