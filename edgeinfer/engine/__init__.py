"""Continuous batching over any `Backend`: no llama.cpp, no HTTP, no clock it was not given."""
