"""Chooses what `edgeinfer install` installs, and writes its configuration."""
