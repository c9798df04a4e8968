"""Reviews of dev examples: predictions with the right answers, and scores of any sample of the examples."""
