"""The contract suite of stores, for ours and for those of other packages: subclass `StoreContract` in a test of yours.

pip install 'vectorferry[testing]'
"""

from pkgutil import iter_modules

try:
    import hypothesis  # noqa: F401
    import pytest
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"vectorferry.testing needs {error.name}: pip install 'vectorferry[testing]'", name=error.name
    ) from error

# Before any of them is imported: pytest shows the values of a failed assertion only in modules that it has rewritten.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))

from vectorferry.testing.contract import StoreContract  # noqa: E402
from vectorferry.testing.fixtures import MakeStore, temporary_stores  # noqa: E402

__all__ = ["MakeStore", "StoreContract", "temporary_stores"]
