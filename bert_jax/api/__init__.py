"""The functions of `import bert_jax`: the verbs of the command by keywords, on files and on data in memory."""
