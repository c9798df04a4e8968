"""Read and write the checkpoints of google-research/bert without TensorFlow."""
