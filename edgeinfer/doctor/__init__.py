"""What is wrong with an installation and its machine, and what to do about it."""
