"""Structured output: grammars enforced token by token, thinking bounded, answers completed in time."""
