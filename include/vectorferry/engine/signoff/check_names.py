"""Names of checks: every one that gives a verdict, which of them look at records, and how the gate says that one is missing."""

from collections.abc import Mapping

NOT_RUN = ": not run"
"""How the gate's line about a verdict that is missing ends."""
MEASURES_A_SHARE = "recall"
"""A neighbour that was not returned is within its threshold: no other check may pass with a difference."""

CHECKS: Mapping[str, str] = {
    "counts": "rows of a partition balance",
    "content": "records of a partition are the same",
    "extras": "no id too many and none too few in the target",
    "held": "both databases' own counts",
    "recall": "the target's index finds the true neighbours",
    "effort": "recall against what the search setting costs",
    "relevance": "judged answers of both sides",
    "filters": "filters return the same ids",
    "keyword": "keyword search finds records by their words",
    "latency": "searches are as fast as the spec wants",
    "load": "the target bears the declared peak",
    "expectations": "expectations of the spec on staged records",
    "touched": "what routers wrote is equal on both sides",
    "shadow_reads": "enough of the applications' reads were repeated",
    "way_back": "a rollback is possible",
    "equal": "the comparison before the end",
    "verify": "the look at the target around the cut-over",
    "drift": "reconciliation",
    "repaired": "repair of a drift",
    "restored": "a restored backup",
    "restore_drill": "the rehearsal of a restore",
}
"""Every check that gives a verdict, with what it is about in a few words."""
RECORDS = ("counts", "content", "touched", "equal", "verify", "drift", "repaired", "restored", "restore_drill")
"""The checks that compare single records; `patterns` looks at these together."""
