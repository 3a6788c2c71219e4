"""Coverage-guided fuzzing of whatever takes in bytes that a stranger, a kernel or another process wrote."""
