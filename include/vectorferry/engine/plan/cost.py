"""Cost of a pass over the source and of the load: requests, hours, read units and US dollars."""

from dataclasses import dataclass

from vectorferry.engine.session import Session, budgeted_rate


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one full pass over the source and of the load: requests, hours at the budgeted rate, read units, US dollars."""

    requests: int
    hours: float
    read_units: float
    dollars: float


def pass_cost(session: Session, rows: int) -> Cost:
    """Cost of reading every row of the source once."""
    able = session.source.capabilities
    listing = 0 if able.lists_ranges else -(-rows // 100)
    requests = listing + -(-rows // able.max_fetch_ids)
    units = rows * able.read_units_per_row
    return _cost(
        requests, budgeted_rate(session.spec.budgets.source, able.reads_per_second), units, able.read_unit_price
    )


def load_cost(session: Session, rows: int) -> Cost:
    """Cost of writing every row to the target once."""
    able = session.target.capabilities
    requests = -(-rows // able.max_batch_rows)
    return _cost(requests, budgeted_rate(session.spec.budgets.target, able.writes_per_second), 0.0, 0.0)


def _cost(requests: int, rate: float | None, units: float, price: float) -> Cost:
    return Cost(requests, requests / rate / 3600 if rate else 0.0, units, units / 1e6 * price)
