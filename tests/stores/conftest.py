import pytest

pytest.register_assert_rewrite("stores.changing", "stores.contract", "stores.measuring", "stores.samples")
