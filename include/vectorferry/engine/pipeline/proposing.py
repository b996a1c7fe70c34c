"""Proposing: what can be had before there is a migration: a spec, questions made of the source, what applications ask."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vectorferry.engine.checks.evaluation_set import EvaluationSet as EvaluationSet
    from vectorferry.engine.plan.observed_use import Use as Use
    from vectorferry.engine.plan.proposal import Place as Place
    from vectorferry.engine.plan.proposal import Proposal as Proposal
    from vectorferry.engine.session import Report
    from vectorferry.spec.connections import Connection
    from vectorferry.spec.migration import MigrationSpec
    from vectorferry.stores.base import Capabilities, VectorStore


def propose(source: "Place", target: "Place", report: "Report") -> "Proposal":
    """What a spec for moving a collection would be, by what both databases say; writes nothing and needs no journal."""
    from vectorferry.engine.plan.proposal import propose

    return propose(source, target, report)


def spec_text(found: "Proposal") -> str:
    """A proposal as a spec file with comments."""
    from vectorferry.engine.plan.spec_text import spec_text

    return spec_text(found)


def place(connection: "Connection", collection: str = "") -> "Place":
    """A collection on a connection; without its name, the database as a whole."""
    from vectorferry.engine.plan.proposal import Place

    return Place(connection, collection)


def make_evaluation_set(
    source: "VectorStore", spec: "MigrationSpec", report: "Report", *, file: str, queries: int, seed: int
) -> "EvaluationSet":
    """Write a query file that is made of the source itself; needs no journal. Raises PreflightFailed where there is nothing to ask by."""
    from vectorferry.engine.checks.evaluation_set import make_evaluation_set

    return make_evaluation_set(source, spec, report, file=file, queries=queries, seed=seed)


def observed_uses(file: Path, spec: "MigrationSpec", able: "Capabilities") -> "list[Use]":
    """What applications were seen to ask, with what of it the target cannot serve."""
    from vectorferry.engine.plan.observed_use import judged

    return judged(file, spec, able)
