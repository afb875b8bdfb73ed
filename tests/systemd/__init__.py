"""A booted systemd for the tests."""
