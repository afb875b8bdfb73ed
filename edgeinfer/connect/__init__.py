"""Configures other programs to use the daemon, and takes that back."""
