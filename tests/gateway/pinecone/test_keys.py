"""Who may ask: keys with names, and how the command takes them."""

from pathlib import Path

import pytest

from pipeline.commanding import vectorferry
from vectorferry.core.errors import ConnectionMissing
from vectorferry.gateway.pinecone.wire.keys import Keys


def test_a_key_has_a_name() -> None:
    keys = Keys.parse(["shop:pcsk_1", "plain", " search:p=cs/k+2 "])
    found = [keys.caller(key) for key in ("pcsk_1", "plain", "p=cs/k+2")]
    assert [caller and caller.name for caller in found] == ["shop", "key2", "search"]
    assert not any(caller is None or caller.limited for caller in found)
    assert [keys.caller(key) for key in (None, "", "pcsk_", "shop", "shop:pcsk_1")] == [None] * 5


@pytest.mark.parametrize("entries", [[], ["a:b:c"], ["a: b"], ["a:xy", "a:z"], ["a:xy", "b:xy"], ["key2:xy", "z"]])
def test_what_is_no_list_of_keys_is_refused_without_showing_any(entries: list[str]) -> None:
    with pytest.raises(ConnectionMissing) as refusal:
        Keys.parse(entries)
    assert not any(entry.partition(":")[2] in str(refusal.value).split() for entry in entries if ":" in entry)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give one of them"),
        (("--store", "a", "--migration", "b"), "give one of them"),
        (("--store", "a", "--collection", "b"), "give --store, --collection and --observe"),
        (("--store", "a", "--tls-cert", "c.pem"), "TLS needs both"),
        (("--store", "a", "--keys", "nowhere"), "the API keys cannot be read"),
    ],
)
def test_options_that_do_not_go_together_are_bad_input(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    environment = {"VECTORFERRY_GATEWAY_API_KEYS": "k:v"}
    ran = vectorferry("gateway", "pinecone", "--folder", str(tmp_path), *options, environment=environment)
    assert ran.code == 2
    assert message in ran.text
