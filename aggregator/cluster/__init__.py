"""What the API server knows, reduced to what the diagnosis uses."""
