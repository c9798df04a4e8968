"""Labelled data of every task, ready to train on and to score: what `finetune` and `evaluate` share."""
