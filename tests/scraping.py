"""What Prometheus would read at an address, and whether it is what the catalogue says."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

from vectorferry.core.metrics import CATALOGUE, Exporter, Kind

_KINDS = {Kind.COUNTER: "counter", Kind.UP_DOWN: "gauge", Kind.GAUGE: "gauge", Kind.HISTOGRAM: "histogram"}
# What Prometheus' format adds to the labels of a histogram.
_OWN_LABELS = {"le"}


@dataclass
class Scraped:
    """Every series at an address: the labels and the value of each, by its name."""

    series: Mapping[str, list[tuple[Mapping[str, str], float]]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float:
        """The value of the one series with these labels."""
        [found] = [value for given, value in self.series[name] if given == labels]
        return found

    def labels(self, name: str) -> set[str]:
        """The names of the labels that any series of that name has."""
        return {label for given, _ in self.series[name] for label in given}


def scrape(url: str) -> Scraped:
    """Read the address as Prometheus does."""
    answer = httpx.get(url, trust_env=False, timeout=60)
    assert answer.status_code == 200, answer.text
    series: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    kinds = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            series[sample.name].append((sample.labels, sample.value))
            kinds[sample.name] = family.type
    return Scraped(series, kinds)


def both(*found: Scraped) -> Scraped:
    """Several addresses as one."""
    series: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    for each in found:
        for name, given in each.series.items():
            series[name] += given
    return Scraped(series, {name: kind for each in found for name, kind in each.kinds.items()})


def series_of(exporters: Iterable[Exporter]) -> dict[str, tuple[str, frozenset[str]]]:
    """The series that the catalogue says these export: kind and labels, by name."""
    found = {}
    for metric in (each for each in CATALOGUE if each.by in exporters):
        labels = frozenset(label.replace(".", "_") for label in metric.labels)
        ends = ("_bucket", "_count", "_sum") if metric.kind is Kind.HISTOGRAM else ("",)
        for end in ends:
            found[f"{metric.prometheus}{end}"] = _KINDS[metric.kind], labels
    return found


def held_to_catalogue(found: Scraped, *exporters: Exporter) -> None:
    """Nothing is exported that the catalogue does not have, nothing is missing, and labels and kinds are those that it says."""
    told = series_of(exporters)
    assert found.series.keys() == told.keys()
    for name, (kind, labels) in told.items():
        assert found.kinds[name] == kind, name
        assert found.labels(name) - _OWN_LABELS == labels, name
