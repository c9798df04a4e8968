"""Reviews of dev examples: each prediction beside the right answer, and the scores of any sample of them."""
