"""The registry finds the stores of installed packages by their entry points, and says which package is in the way."""

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vectorferry.core.errors import ConnectionMissing
from vectorferry.spec.connections import Connection
from vectorferry.stores import registry
from vectorferry.stores.memory import MemoryStore
from vectorferry.stores.registry import OWN_STORES, open_store

ROOT = Path(__file__).parents[2]
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package that registers stores (and may hold a module) on the path, as an installer leaves it there."""

    def add(package: str, module: str | None = None, **stores: str) -> None:
        info = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = {value}" for name, value in stores.items())
        (info / "entry_points.txt").write_text(f"[vectorferry.stores]\n{lines}\n")
        if module is not None:
            (tmp_path / f"{package.replace('-', '_')}.py").write_text(module)

    monkeypatch.syspath_prepend(tmp_path)
    registry._entries.cache_clear()
    yield add
    registry._entries.cache_clear()


def test_our_own_stores_are_registered_as_everybody_elses() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["entry-points"]["vectorferry.stores"]
    assert declared == OWN_STORES
    entries = [entry for found in registry._entries().values() for entry in found]
    assert {entry.name: entry.value for entry in entries if entry.dist and entry.dist.name == "vectorferry"} == declared


def test_our_own_stores_are_found_without_metadata(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: ())
    assert isinstance(open_store(Connection("c", "memory"), "x"), MemoryStore)
    assert {name: entry.value for name, (entry,) in registry._entries().items()} == OWN_STORES


def test_a_store_of_another_package_is_found(install: Install) -> None:
    install("ferry-other", "from vectorferry.stores.memory import MemoryStore as Other", other="ferry_other:Other")
    assert open_store(Connection("c", "other"), "x").name == "memory x"


def test_an_unknown_type_of_connection_names_those_that_are_registered(install: Install) -> None:
    install("ferry-other", other="ferry_other:Other")
    with pytest.raises(
        ConnectionMissing, match=r"'c' has the type 'redis'; known are lancedb, memory, other, pinecone"
    ):
        open_store(Connection("c", "redis"), "x")


def test_a_type_that_two_packages_register_is_refused_with_both_names(install: Install) -> None:
    install("ferry-one", redis="ferry_one:Store")
    install("ferry-two", redis="ferry_two:Store")
    with pytest.raises(ConnectionMissing, match=r"'redis', which several packages register: ferry-one and ferry-two; "):
        open_store(Connection("c", "redis"), "x")
    assert open_store(Connection("c", "memory"), "x").name == "memory x"


def test_nobody_takes_one_of_our_types(install: Install) -> None:
    install("ferry-one", memory="ferry_one:Store")
    with pytest.raises(ConnectionMissing, match=r"ferry-one and vectorferry; uninstall all but one of them"):
        open_store(Connection("c", "memory"), "x")


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import no_such_sdk", r"cannot be imported: ModuleNotFoundError: .*no_such_sdk"),
        ("raise TypeError('made for another version')", r"cannot be imported: TypeError: made for another version"),
        ("Other = 1", r"cannot be imported: AttributeError: .*Store"),
        ("Store = 1", r"is no class of stores: it has no method `open`"),
    ],
)
def test_a_broken_store_names_its_package_and_the_way_out(
    install: Install, request: pytest.FixtureRequest, module: str, reason: str
) -> None:
    package = f"ferry-broken{request.node.callspec.indices['module']}"
    value = f"{package.replace('-', '_')}:Store"
    install(package, module, broken=value)
    with pytest.raises(ConnectionMissing, match=rf"the store {value} of package '{package}' .*{reason}.*; install "):
        open_store(Connection("c", "broken"), "x")
