"""Finds problems of an installation and its machine, and says how to fix them."""
