"""Fixtures for every test."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["servers"]

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("vectorferry", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vectorferry")
