"""Compiles JSON schemas to the subset that llguidance enforces; `lower` is the entry point."""
