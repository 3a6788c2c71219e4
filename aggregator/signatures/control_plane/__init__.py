"""Incident 5, control_plane_saturation: its rules."""
