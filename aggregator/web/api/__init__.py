"""Version 1 of the HTTP API: what is known, as JSON."""
