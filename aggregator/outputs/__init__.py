"""What is sent to others, unasked. Each loaded only where it is switched on."""
