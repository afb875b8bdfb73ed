"""Continuous batching over any `Backend`: no llama.cpp, no HTTP, no clock of its own."""
