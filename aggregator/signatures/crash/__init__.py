"""Incident 1, crash_loop: its rules."""
