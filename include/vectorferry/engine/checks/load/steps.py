"""Steps: what a rate came to, by the searches of all processes, and whether it was the client that could not keep up."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from vectorferry.engine.checks.load.sending import Floats, Sent
from vectorferry.spec.check_rules import LoadCheck

BUSY = 0.85
"""Of one core: a process of Python that uses so much has no time left to send, or to read answers."""

Limit = Literal["p99", "errors", "client", "nothing"]


@dataclass(frozen=True, slots=True)
class Step:
    """One rate, in searches per second. The percentiles are from when each search was due; what was not sent counts as long as it waited.

    `service_p99_ms` is from when it was sent. Of the client: `lag_ms` (p99) is how late it sent though a worker was free, `cpu_share`
    that of its busiest process, of one core, `no_worker` the share of searches that found no worker free.
    """

    rate: float
    sent_rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: int
    sent: int
    unsent: int
    left_by: Limit
    client_saturated: bool
    service_p99_ms: float
    lag_ms: float
    cpu_share: float
    no_worker: float

    @property
    def held(self) -> bool:
        """Whether everything stayed within the budget."""
        return self.left_by == "nothing"

    @property
    def limited_by(self) -> Limit:
        """What ended it; a client that could not keep up tells nothing about the server."""
        return "client" if self.client_saturated else self.left_by

    def figures(self) -> dict[str, Any]:
        """As a verdict has them."""
        return asdict(self)

    def __str__(self) -> str:
        told = "held" if self.held else f"left by {self.limited_by}"
        return f"{self.rate:.4g} searches/s: p99 {self.p99_ms:g} ms, {self.errors} errors, {told}"


def step_of(rate: float, parts: Sequence[Sent], rules: LoadCheck, give_up: float) -> Step:
    """What a step came to; `give_up` is in seconds, as the turns had it."""
    waits, services, lags = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("waits", "services", "lags")
    )
    is_sent = ~np.isnan(waits)
    sent, errors = int(is_sent.sum()), sum(part.errors for part in parts)
    p50, p95, p99 = (_ms(np.where(is_sent, waits, give_up), share) for share in (50, 95, 99))
    left = _left_by(p99, errors, sent, rules)
    service, cpu = _ms(services, 99), max(part.cpu_share for part in parts)
    return Step(
        rate=round(rate, 3),
        sent_rate=round(sum(float((~np.isnan(part.waits)).sum()) / part.seconds for part in parts), 3),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        errors=errors,
        sent=sent,
        unsent=len(waits) - sent,
        left_by=left,
        # The answers came in time once the searches had been sent, or there was no time to see when they came.
        client_saturated=left == "p99" and (service <= rules.max_p99_ms or cpu > BUSY),
        service_p99_ms=service,
        lag_ms=_ms(lags, 99),
        cpu_share=round(cpu, 3),
        no_worker=round(1 - float((~np.isnan(lags)).sum()) / max(1, sent), 4),
    )


def _left_by(p99: float, errors: int, sent: int, rules: LoadCheck) -> Limit:
    if errors > rules.max_errors * sent:
        return "errors"
    return "p99" if p99 > rules.max_p99_ms else "nothing"


def _ms(seconds: Floats, share: float) -> float:
    known = seconds[~np.isnan(seconds)]
    return round(float(np.percentile(known, share)) * 1000, 3) if len(known) else 0.0
