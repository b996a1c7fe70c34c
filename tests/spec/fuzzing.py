"""Settings of the fuzzers: the same examples at each run of the suite, and any number of new ones by hand with FUZZ_EXAMPLES."""

import os

from hypothesis import HealthCheck, settings

BY_HAND = os.environ.get("FUZZ_EXAMPLES", "")

BOUNDED = settings(
    max_examples=int(BY_HAND or 150),
    derandomize=not BY_HAND,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
