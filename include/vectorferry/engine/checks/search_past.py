"""Searches past touched records: what routers wrote since the plan takes places among the results, and is no answer."""

import time
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from vectorferry.core.filters import Filter
from vectorferry.core.model import Neighbours
from vectorferry.engine.sync.touched import Touched
from vectorferry.stores.base import VectorStore


@dataclass(frozen=True, slots=True)
class Past:
    """Results with the touched ones among them, `aside`; `seconds` of the first search, without waiting for the budget."""

    found: Neighbours
    aside: frozenset[str]
    seconds: float


def search_past(
    store: VectorStore,
    touched: Touched,
    namespace: str,
    queries: Any,
    wanted: int,
    *,
    where: Filter | None = None,
    effort: int | None = None,
    vector: str = "",
) -> Past:
    """The `wanted` nearest of each query; where touched records are among them, as many others are looked for behind them."""
    ask = partial(store.search, namespace, queries, where=where, effort=effort, vector=vector)
    width, most = wanted, store.capabilities.max_top_k
    began, paced = time.perf_counter(), store.usage.paced_seconds
    found = ask(width)
    seconds = time.perf_counter() - began - (store.usage.paced_seconds - paced)
    aside = _aside(touched, namespace, found)
    while _crowded(found, aside, width, wanted) and width < most:
        width = min(4 * width, most)
        found = ask(width)
        aside = _aside(touched, namespace, found)
    return Past(found, aside, seconds)


def _aside(touched: Touched, namespace: str, found: Neighbours) -> frozenset[str]:
    return touched.among(namespace, dict.fromkeys(chain.from_iterable(found.ids)))


def _crowded(found: Neighbours, aside: frozenset[str], width: int, wanted: int) -> bool:
    """Whether a query has too few results left without the touched ones, and could have more."""
    return any(len(ids) >= width and sum(id_ not in aside for id_ in ids) < wanted for ids in found.ids)
