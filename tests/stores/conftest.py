import pytest

pytest.register_assert_rewrite("stores.contract", "stores.samples")
