"""Learn vocabularies from text: WordPiece, byte-level BPE, unigram."""
