"""Fine-tuning: readers of labelled data, runs, scores and reports, shared by `finetune` and `evaluate`."""
