"""Make pre-training examples of each kind from tokenised documents."""
