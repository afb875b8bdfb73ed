"""Tool calls: what a model may call, how its family writes that, and how it is read again."""
