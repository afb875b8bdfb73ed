"""GGUF files: reading and checking their headers, and predicting those of other quantizations."""
