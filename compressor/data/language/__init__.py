"""Running text: corpora as streams of tokens, cut into windows."""
