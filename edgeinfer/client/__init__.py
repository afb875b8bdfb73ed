"""HTTP client of the daemon, for the commands and for doctor."""
