"""Compiles schemas and grammars for constrained answers, in a process of their own."""
