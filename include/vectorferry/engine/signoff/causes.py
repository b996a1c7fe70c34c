"""Table of symptoms: what each failed verdict most likely comes of, and what to do; docs/diagnosing.md is made of it (`make schema`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vectorferry.core.model import DifferenceKind
from vectorferry.engine.signoff.check_names import RECORDS

Found = Mapping[str, Any]
"""A verdict as the body of evidence has it."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """One row: of which checks (none: of any), what is seen, what it likely comes of, what to do, and when a verdict shows it."""

    anchor: str
    checks: tuple[str, ...]
    seen: str
    cause: str
    advice: str
    shown: Callable[[Found], bool]

    def fits(self, verdict: Found) -> bool:
        """Whether a failed verdict shows it."""
        return (not self.checks or verdict["check"] in self.checks) and self.shown(verdict)


def _always(verdict: Found) -> bool:
    del verdict
    return True


def _kind(*kinds: DifferenceKind) -> Callable[[Found], bool]:
    return lambda verdict: any(each["kind"] in kinds for each in verdict.get("differences", ()))


def _reason(*words: str) -> Callable[[Found], bool]:
    return lambda verdict: any(word in verdict.get("reason", "") for word in words)


def _figure(name: str) -> Callable[[Found], bool]:
    return lambda verdict: bool(verdict.get("figures", {}).get(name))


def _pattern(name: str) -> Callable[[Found], bool]:
    """Whether `patterns` saw this over all verdicts together."""
    return lambda verdict: name in verdict.get("patterns", ())


def _beyond_the_source(verdict: Found) -> bool:
    """Whether a limit that the target missed is one that the source itself does not keep."""
    figures = verdict.get("figures", {})
    sides = [figures.get(side) or {} for side in ("source", "target")]
    limits = {name: figures.get(f"max_{name}") for name in ("p50_ms", "p95_ms", "p99_ms")}
    return any(limit is not None and all(side.get(name, 0) > limit for side in sides) for name, limit in limits.items())


def _limited_by_client(verdict: Found) -> bool:
    return bool(verdict.get("figures", {}).get("limited_by") == "client")


def _nothing(verdict: Found) -> bool:
    return not verdict.get("figures")


SYMPTOMS: Sequence[Symptom] = (
    Symptom(
        "not-run",
        (),
        "“not run”: a verdict that the gate needs is missing",
        "A task of this run was skipped, cleared or failed before its check, or only a subset of the plan was run.",
        "Look for the red or skipped task of the run and clear it. A subset is never approvable: run the whole plan.",
        _reason("not run"),
    ),
    Symptom(
        "source-moved",
        ("counts", "content", "extras"),
        "rows changed, appeared or vanished in the source since the export or the plan",
        "Something writes to the source without a router while the spec says `writers: none`, or past the routers.",
        "Find who writes (the named ids tell whose records they are) and stop it, or let it write through a router"
        " and set `routers` in the spec. Then migrate anew (`vectorferry abandon`, or a new migration name): the "
        "staged files are of an earlier state.",
        _reason("the source moved since the export", "since the plan"),
    ),
    Symptom(
        "staging-changed",
        ("content",),
        "the staged files do not have the digest that their manifest states",
        "A file in staging was changed, replaced or cut off after it was written: by hand, by a lifecycle rule, or"
        " by a damaged disk.",
        "Keep others out of the staging folder, look at its storage, and migrate anew; do not put back single files.",
        _reason("do not have the digest"),
    ),
    Symptom(
        "doubled-key",
        (),
        "a record cannot be read: several records have one key",
        "The database allows several records with one key (LanceDB, views, tables of others), and somebody wrote "
        "one twice.",
        "Look both up by the id that is named, remove the wrong one in that database, and run again.",
        _reason("several records have", "several rows have", "second record", "occurs twice"),
    ),
    Symptom(
        "follows",
        (),
        "a check that failed only over records that another check names already",
        "It follows from the records that are named above: they are not there, not the same, or too many, and so a "
        "filter, a count or a rule over the verdicts finds that too.",
        "Mend those records; this passes by itself in the next run. If it does not, it is a finding of its own.",
        _pattern("follows"),
    ),
    Symptom(
        "wrong-namespace",
        (*RECORDS, "extras"),
        "`missing` and `extra`: one id is missing in a namespace, and is in another one where the source does not have it",
        "The record lies in the wrong namespace of the target: an application or a script wrote or moved it there.",
        "Look the id up in both namespaces of the target. `vectorferry reconcile SPEC` writes it where it belongs and "
        "deletes it from where it was found, within the limits of the spec. Then mend the writer.",
        _pattern("wrong-namespace"),
    ),
    Symptom(
        "wrong-id",
        (*RECORDS, "extras"),
        "`missing` and `extra`: in a namespace one id is missing, and there is another one that the source does not have",
        "The record may lie there under another id: somebody renamed or copied it, or another tool makes ids its own way. "
        "It may also be a loss and a stranger that have nothing to do with each other.",
        "Look at both ids in the target. `vectorferry reconcile SPEC` writes what is missing and deletes what is too much, "
        "within the limits of the spec. Then mend the writer.",
        _pattern("wrong-id"),
    ),
    Symptom(
        "swapped",
        RECORDS,
        "`vector`: two records have each other's vectors",
        "Rows were put together in another order than their vectors: a script that read both from two files, or a batch that "
        "was cut differently.",
        "All records of such a batch are suspect: let all be compared (`vectorferry compare SPEC`), have "
        "`vectorferry reconcile SPEC` write them anew, and mend the writer.",
        _pattern("swapped"),
    ),
    Symptom(
        "overwritten",
        RECORDS,
        "`vector` and `metadata`: of one record both are others",
        "The whole record is another version: an older one that was written again, or a newer one that somebody wrote into the "
        "target past the routers.",
        "Look at it on both sides, find out which is the newer one and who wrote it. If the source is right, "
        "`vectorferry reconcile SPEC` writes it anew; if the target is, the source has to be told first.",
        _pattern("overwritten"),
    ),
    Symptom(
        "missing",
        (*RECORDS, "extras"),
        "`missing`: records of the source are not in the target",
        "The target lost acknowledged writes (a restart without a synced disk, a full disk, a deletion by somebody"
        " else), or rows were deleted in the target after they were loaded.",
        "Look one of the ids up in the target itself. If it is not there, find "
        "out what deleted or lost it first (server log, other writers, disk); "
        "then `vectorferry taint SPEC`, or `vectorferry reconcile SPEC` where records are few. "
        "Then trigger the migration again: what is loaded stays loaded.",
        _kind(DifferenceKind.MISSING),
    ),
    Symptom(
        "vector",
        RECORDS,
        "`vector`: the vector of a record is another one in the target",
        "Something wrote other vectors into the target: an application that embeds again, another model, or an "
        "index that stores vectors normalised or in half precision and whose store does not declare it.",
        "Compare one record by hand on both sides. If all differ by a factor or in the last digits, the target's "
        "settings (metric, quantisation) are the cause; if only some do, somebody else writes: stop that, then "
        "taint and settle.",
        _kind(DifferenceKind.VECTOR),
    ),
    Symptom(
        "sparse",
        RECORDS,
        "`sparse`: the sparse vector of a record differs or is not there",
        "The target keeps no sparse vectors in this collection, or was written by a client that leaves them out.",
        "Look at the target's schema. Where sparse vectors are to stay behind on purpose, say `source.sparse: "
        "leave` in the spec.",
        _kind(DifferenceKind.SPARSE),
    ),
    Symptom(
        "metadata",
        RECORDS,
        "`metadata`: a metadata value is another one, or of another type",
        "The target converts values of that key (a declared type that does not fit, dates, large integers), or an "
        "application wrote it since.",
        "The key is named with the difference. Declare it in `fields` with the type that its values have, map it "
        "(docs/mapping.md), or stop the other writer; then load again.",
        _kind(DifferenceKind.METADATA),
    ),
    Symptom(
        "field",
        (),
        "`field`: a field of the collection differs between both sides",
        "A field was added, removed or given another type on one side after the collection was made.",
        "Compare both schemas, bring the target's back to what the plan made, and run again.",
        _kind(DifferenceKind.FIELD),
    ),
    Symptom(
        "namespace",
        (),
        "`namespace`: a record lies in another namespace than in the source",
        "An application or a script wrote it into the wrong tenant; ids that look alike in several namespaces "
        "invite this.",
        "`vectorferry reconcile SPEC` writes it where it belongs and deletes it from where it was found, within "
        "the limits of the spec. Then mend the writer.",
        _kind(DifferenceKind.NAMESPACE),
    ),
    Symptom(
        "still-written",
        ("touched", "equal", "verify", "repaired"),
        "records were written again and again while they were compared",
        "An application writes the same few records all the time, faster than both sides can be read.",
        "Compare again at a quieter hour, or have that writer pause; nothing is known to be wrong with these records.",
        _reason("written again and again"),
    ),
    Symptom(
        "unreadable",
        RECORDS,
        "a record of a side cannot be read as one",
        "A value, a vector or a key is of a kind that no record carries (NaN, another length, a table's odd row); "
        "the reason names its place.",
        "Look that record up in its database and mend or remove it there; then run again.",
        lambda verdict: not verdict.get("figures") and bool(verdict.get("reason")),
    ),
    Symptom(
        "counts",
        ("counts",),
        "counts do not balance, and no missing id is named",
        "A side gained or lost rows while it was read, or an excused row is in the target after all.",
        "The reason names the namespaces and all four numbers: the pair that differs tells the side. Look for "
        "another writer on it, and run again.",
        _always,
    ),
    Symptom(
        "content",
        ("content",),
        "content could not be compared, or differs without a difference that is named",
        "The target returned none of the rows, or a reader stopped at a record that it cannot carry.",
        "Read the reason: it names the place. Look at the target's health, and clear the check's task.",
        _always,
    ),
    Symptom(
        "extras",
        ("extras",),
        "`extra`: the target has ids that the source does not have",
        "Another application writes to the target already, a deletion in the source was not followed, or the "
        "collection was not empty before.",
        "Look one of the ids up on both sides. Delete leftovers in the target, or declare the collection's own "
        "namespaces with `target.adopt`; with routers, settle and look again.",
        _always,
    ),
    Symptom(
        "extra",
        RECORDS,
        "`extra`: the target has a record that the source does not have",
        "It was deleted in the source past the routers, or written into the target past them.",
        "Find the writer. `vectorferry reconcile SPEC` deletes such records from the follower, within the limits "
        "of the spec.",
        _kind(DifferenceKind.EXTRA),
    ),
    Symptom(
        "held",
        ("held",),
        "a database counts another number by itself than was read or written",
        "A reader leaves records out, a server lost records that it lists, or its statistics lag behind; or "
        "records have properties that no reader carries.",
        "Ask the database's own console for the count of the namespace that is named. If it stays different after "
        "its visibility delay, look for records that a scan does not return (docs/databases) before anything else:"
        " they would not be moved.",
        _always,
    ),
    Symptom(
        "recall-queries",
        ("recall",),
        "too few queries, or none that has a neighbour",
        "The namespace is small or the query file does not reach it, so that the interval would not mean much.",
        "Raise `checks.recall.sample`, or give a query file (`checks.recall.queries`) that asks in this namespace.",
        _reason("queries,", "no query has a neighbour"),
    ),
    Symptom(
        "recall-kind",
        ("recall",),
        "one kind of query lies wholly below the threshold, the mean does not",
        "An index loses what lies between its clusters (`border`), beside near duplicates, or where many records are "
        "nearly as close (`hardest`) before it loses anything else.",
        "Raise the search effort, or build the index with stronger settings. If nobody asks such questions, leave the "
        "kind out of the query file: what it has is what you mean to be judged by.",
        _reason("queries of kind"),
    ),
    Symptom(
        "recall",
        ("recall",),
        "recall does not reach the threshold",
        "The target's approximate index searches with too little effort for these vectors, was not finished when "
        "it was asked, or was built with weak settings; sometimes records are in the database and not in its "
        "index.",
        "If `effort` proposes a setting, take it over in `checks.recall.effort` and in the applications. Else run "
        "`vectorferry searchable SPEC`: it names records that no search finds. If all namespaces are low alike, "
        "compare the metric of both sides.",
        _always,
    ),
    Symptom(
        "effort",
        ("effort",),
        "no search effort that was tried reaches the threshold",
        "The index itself is too coarse (few links, strong quantisation), or the threshold asks more than an "
        "approximate index gives here.",
        "Build the target's index with stronger settings (`target.index`) and load again, or agree on another "
        "threshold with those who search.",
        _always,
    ),
    Symptom(
        "relevance-alone",
        ("relevance",),
        "there is nothing to hold the judged answers against, or too few of them",
        "The source cannot be searched, or few of the graded records are moved.",
        "Give `checks.relevance.min_ndcg`, which the target is held to by itself, or grade more questions. The "
        "verdict's figures count the grades that are absent, excused or set aside.",
        _reason("nothing to hold the target against", "are required", "nothing was judged"),
    ),
    Symptom(
        "relevance",
        ("relevance",),
        "judged answers of the target are worse than the source's",
        "Lower recall, another metric, or documents that were judged and are not in the target.",
        "Look at recall and `effort` first. If these are well, ask one judged query on both sides and compare the "
        "orders.",
        _always,
    ),
    Symptom(
        "filters-refused",
        ("filters",),
        "the target does not support a recorded filter",
        "The field is not declared, or not filterable, in the target, or the database has no such operator.",
        "Declare the field in `fields`, or have the application ask it otherwise before the cut-over "
        "(docs/databases says what each supports).",
        _reason("does not support it", "express none"),
    ),
    Symptom(
        "filters",
        ("filters",),
        "a filter returns other ids than the staged records that match",
        "Values have another type in the target than the filter expects, text is split or folded by the index, or "
        "the field's index is not complete yet.",
        "Ask the target that filter for one of the ids that are named. Declare the field's type and tokenisation "
        "(`fields`), or wait for its index; where the source itself is wrong, the verdict says `returned by the "
        "source`.",
        _always,
    ),
    Symptom(
        "keyword",
        ("keyword",),
        "records are not found by words of their own text",
        "The field is split into words otherwise than declared, or its keyword index is not complete.",
        "Compare the field's `tokenization` in the target with the spec, and wait for the index; then clear the "
        "check's task.",
        _always,
    ),
    Symptom(
        "latency-limit",
        ("latency",),
        "both sides are slower than the spec allows",
        "The limit is tighter than what the source itself keeps: it was chosen without measuring, is in another unit, or the "
        "way from the worker to both databases takes longer than they do.",
        "See the source's own figures beside the target's, and set `checks.latency` in the spec to what users need.",
        _beyond_the_source,
    ),
    Symptom(
        "latency",
        ("latency",),
        "searches are slower than the spec allows",
        "The target is too small, still building its index, far away, or searched with more effort than it needs; "
        "its first searches load data from disk.",
        "Look at the target's own load while it is asked, see what `effort` proposes, and measure again when "
        "nothing is being loaded.",
        _always,
    ),
    Symptom(
        "load-client",
        ("load",),
        "the machine that sent the load could not send faster",
        "The client was saturated (CPU, connections, network) before the server was.",
        "Run the load test from a larger machine, near the target: about the server this says nothing.",
        _limited_by_client,
    ),
    Symptom(
        "load",
        ("load",),
        "latency or errors leave the budget below the load that the spec wants",
        "The target is too small for the declared peak, limits its clients, or was busy with something else.",
        "Give the target more CPU, memory or replicas, or lower the search effort; then measure again. Do not cut "
        "over before.",
        _always,
    ),
    Symptom(
        "expectations",
        ("expectations",),
        "an expectation of the spec does not hold on the staged records",
        "The source's own metadata is not what people believe it to be, or the expectation is.",
        "The Data Docs beside the evidence show each expectation. Mend the data in the source, or the expectation "
        "in the spec.",
        _always,
    ),
    Symptom(
        "touched",
        ("touched",),
        "records that routers wrote differ between both sides",
        "Something writes past the routers, or to the follower directly; or an excused record.",
        "Look at one of the ids on both sides, and for a writer that has no router (`vectorferry status` lists "
        "those that have one). Then settle and run again.",
        _always,
    ),
    Symptom(
        "shadow-reads",
        ("shadow_reads",),
        "fewer shadow reads than the spec wants",
        "Applications read little, routers were not started long enough ago, or `shadow.share` is small.",
        "Wait and clear `await_shadow_reads`, or agree on smaller `shadow.min_reads` and `shadow.min_duration`.",
        _always,
    ),
    Symptom(
        "way-back",
        ("way_back",),
        "a rollback would not be possible",
        "The source takes no writes any more, or nobody is allowed to write to it.",
        "Give the migration the right to write to the source again, before anything else.",
        _always,
    ),
    Symptom(
        "equal",
        ("equal",),
        "both sides are not equal before the end",
        "Writes past the routers, or too many differences to look at one by one.",
        "Run `vectorferry reconcile SPEC`, repair what it finds, and prepare the end again.",
        _always,
    ),
    Symptom(
        "verify",
        ("verify",),
        "the target is not what was checked",
        "Something else wrote to the target between the evidence and the switch, or the alias points elsewhere.",
        "Find that writer. Before the cut-over, run the migration again; after it, decide on `vectorferry "
        "rollback` first and look then.",
        _always,
    ),
    Symptom(
        "drift",
        ("drift",),
        "both sides differ",
        "Writes past the routers, manual changes, or a restored database.",
        "The drift report beside the reconciliation names every record with its kind. Find the writer, then repair"
        " (docs/operations.md).",
        _always,
    ),
    Symptom(
        "repaired",
        ("repaired",),
        "records are still not equal after the repair",
        "They are written all the time, or the database refuses them.",
        "Look at the ids that are named, and at `vectorferry status` for rejected records; the next reconciliation"
        " looks again.",
        _always,
    ),
    Symptom(
        "restored",
        ("restored",),
        "a restored collection is not what the backup holds",
        "The database refused or changed records, or something else wrote to the collection meanwhile.",
        "Do not use the collection. Restore into an empty one, and compare what is named.",
        _always,
    ),
    Symptom(
        "restore-drill",
        ("restore_drill",),
        "the rehearsal of a restore failed, or is missing",
        "No backup of this state exists, the backup is damaged, or there is no room for a second copy.",
        "Run `vectorferry backup SPEC` and `vectorferry drill SPEC`, and read what they say; there is no end "
        "without it.",
        _always,
    ),
    Symptom(
        "empty",
        (),
        "“empty, nothing was measured”",
        "A check found nothing to look at, or an older worker recorded a verdict without figures.",
        "Clear the check's task. If it stays empty, see whether the plan covers what you meant to move.",
        _nothing,
    ),
    Symptom(
        "result",
        (),
        "`result`: a search, filter, count or expectation answers otherwise than it must",
        "See the row of the check that found it.",
        "What was asked stands beside the id in the difference: ask it again by hand.",
        _kind(DifferenceKind.RESULT),
    ),
    Symptom(
        "other",
        (),
        "anything else",
        "A check that this table does not know yet.",
        "Read its reason and figures in the report, and docs/checks.md on what it proves.",
        _always,
    ),
)


def symptom_of(verdict: Found) -> Symptom:
    """The first row of the table that a failed verdict shows; there always is one."""
    return next(each for each in SYMPTOMS if each.fits(verdict))
