"""edgeinfer as a service: what is installed for it, and who starts, stops and watches it."""
