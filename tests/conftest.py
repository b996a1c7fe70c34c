"""Fixtures for every test."""

import pytest
from hypothesis import HealthCheck, settings

# Before any test module is imported: those of other folders use some of them, too.
pytest.register_assert_rewrite("stores.changing", "stores.contract", "stores.measuring", "stores.samples")
pytest_plugins = ["servers"]

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("vectorferry", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vectorferry")
