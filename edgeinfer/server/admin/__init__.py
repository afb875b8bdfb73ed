"""Our own routes, for those who watch and operate the service."""
