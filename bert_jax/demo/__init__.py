"""The parts of `bert-jax demo`: a corpus and a labelled task from installed packages, and a report. Without JAX."""
