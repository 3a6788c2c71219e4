"""Shared by all tests: hypothesis in a deterministic profile, so that a failure on one machine is a failure on all."""

from hypothesis import HealthCheck, settings

settings.register_profile("nodetell", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nodetell")
