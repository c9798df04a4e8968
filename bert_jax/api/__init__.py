"""The functions of `import bert_jax`: the command's verbs as functions of keywords, for files and data in memory."""
