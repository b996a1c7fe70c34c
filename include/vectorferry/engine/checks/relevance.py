"""Relevance: how well both sides answer questions whose answers people have graded, and whether the target answers worse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from vectorferry.core.errors import Unsupported
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import Difference, DifferenceKind, VectorKind, Verdict
from vectorferry.engine.checks.judgements import Judged, judgements_of
from vectorferry.engine.checks.ranking_quality import Values, bootstrap, ndcg, reciprocal_rank
from vectorferry.engine.checks.search_past import search_past
from vectorferry.engine.checks.searched_vectors import dense_dimensions
from vectorferry.engine.diff.row_diff import MOST_KEPT
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.touched import Touched
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.engine.transfer.staged import planned_namespaces
from vectorferry.journal import Plan
from vectorferry.spec.check_rules import RelevanceCheck
from vectorferry.stores.base import VectorStore
from vectorferry.stores.batching import chunks

_MOST_BEHIND = 1_000  # excused records of a namespace that are looked past on the source
Key = tuple[str, str]


def check_relevance(session: Session, plan: Plan) -> tuple[Verdict, ...]:
    """The verdict 'relevance': nDCG@k and MRR of both sides, and the paired difference, with bootstrap intervals over the questions.

    Fails where the lower end of the difference lies below minus the tolerance, that of the target's nDCG below `min_ndcg`, or fewer
    than `min_queries` questions could be judged; and where nothing is there to hold the target against. Graded records that the source
    does not have, that stay behind or that were touched since the plan count for neither side. No verdict where the spec has no judgements.
    """
    rules = session.spec.checks.relevance
    if rules is None:
        return ()
    judged = judgements_of(
        session.spec.checks,
        moved=frozenset(planned_namespaces(plan)),
        dimensions=dense_dimensions(plan),
        chosen=session.spec.namespaces,
    )
    excused, touched = excused_ids(session), Touched(session, plan)
    target = _answers(session, session.target, judged, excused, touched, "target")
    source = _of_source(session, judged, excused, touched)
    # Asked about after both sides were, as in every check.
    kept, figures = _kept(session, judged, excused, touched)
    figures |= {
        "k": rules.k,
        "tolerance": rules.tolerance,
        "min_ndcg": rules.min_ndcg,
        "min_queries": rules.min_queries,
    }
    figures["confidence"] = session.spec.checks.recall.confidence
    return (_verdict(session, rules, kept, target, source, figures),)


Answers = Mapping[str, Sequence[str]]


def _of_source(session: Session, judged: Sequence[Judged], excused: frozenset[Key], touched: Touched) -> Answers | str:
    """What the source answers, or why it cannot be asked."""
    able = session.source.capabilities
    if not able.searches or VectorKind.DENSE not in able.searched_kinds:
        return "the source keeps its vectors without an index, and refuses to be searched"
    try:
        return _answers(session, session.source, judged, excused, touched, "source")
    except Unsupported as error:  # which only the source's own schema tells of this vector
        return str(error)


def _answers(
    session: Session, store: VectorStore, judged: Sequence[Judged], excused: frozenset[Key], touched: Touched, side: str
) -> Answers:
    """Ids by the question's name, best first, without excused and touched ones."""
    rules, found = session.spec.checks.relevance, dict[str, Sequence[str]]()
    assert rules is not None
    behind: dict[str, set[str]] = {}
    for namespace, id_ in excused:
        behind.setdefault(namespace, set()).add(id_)
    effort = session.spec.checks.recall.effort if side == "target" else None
    for done, each in enumerate(judged):
        asked, namespace = each.question, each.question.namespace
        where = None if asked.where is None else parse_filter(orjson.loads(asked.where))
        left = behind.get(namespace, set())
        width = min(rules.k + min(len(left), _MOST_BEHIND), store.capabilities.max_top_k)
        how: Mapping[str, Any] = {"where": where, "effort": effort, "vector": asked.by}
        past = search_past(store, touched, namespace, asked.vector[np.newaxis], width, **how)
        found[each.name] = [id_ for id_ in past.found.ids[0] if id_ not in past.aside and id_ not in left][: rules.k]
        session.report(StepProgress("relevance", side, done + 1, len(judged), unit="questions"))
    return found


def _kept(
    session: Session, judged: Sequence[Judged], excused: frozenset[Key], touched: Touched
) -> tuple[list[Judged], dict[str, Any]]:
    """The questions with the grades that count, and how many others there are; one without any grade above 0 says nothing."""
    wanted: dict[str, dict[str, None]] = {}
    for each in judged:
        wanted.setdefault(each.question.namespace, {}).update(dict.fromkeys(each.grades))
    there = {name: _present(session.source, name, list(ids)) for name, ids in wanted.items()}
    aside = {name: touched.among(name, ids) for name, ids in wanted.items()}
    kept, counts = list[Judged](), {"absent": 0, "excused": 0, "set_aside": 0}
    for each in judged:
        namespace, grades = each.question.namespace, dict[str, float]()
        for id_, grade in each.grades.items():
            if (namespace, id_) in excused:
                counts["excused"] += 1
            elif id_ in aside[namespace]:
                counts["set_aside"] += 1
            elif id_ not in there[namespace]:
                counts["absent"] += 1
            else:
                grades[id_] = grade
        if any(grade > 0 for grade in grades.values()):
            kept.append(Judged(each.name, each.question, grades))
    total = sum(len(each.grades) for each in judged)
    return kept, {"judgements": total, **counts, "queries": len(kept), "unanswerable": len(judged) - len(kept)}


def _present(store: VectorStore, namespace: str, ids: Sequence[str]) -> frozenset[str]:
    found: set[str] = set()
    for some in chunks(ids, store.capabilities.max_fetch_ids):
        found.update(store.fetch(namespace, some).column("id").to_pylist())
    return frozenset(found)


@dataclass(frozen=True)
class _Side:
    """nDCG and reciprocal rank of each question, shape [n]."""

    ndcg: Values
    mrr: Values

    @classmethod
    def of(cls, kept: Sequence[Judged], answers: Answers, k: int) -> "_Side":
        return cls(
            np.array([ndcg(answers[each.name], each.grades, k) for each in kept]),
            np.array([reciprocal_rank(answers[each.name], each.grades, k) for each in kept]),
        )

    def figures(self, confidence: float) -> dict[str, float]:
        return _told("ndcg", self.ndcg, confidence) | _told("mrr", self.mrr, confidence)


def _told(name: str, values: Values, confidence: float) -> dict[str, float]:
    found = zip((name, f"{name}_low", f"{name}_high"), bootstrap(values, confidence), strict=True)
    return {key: round(value, 6) for key, value in found}


def _verdict(
    session: Session,
    rules: RelevanceCheck,
    kept: Sequence[Judged],
    target: Answers,
    source: Answers | str,
    figures: dict[str, Any],
) -> Verdict:
    confidence = session.spec.checks.recall.confidence
    if not kept:
        reason = "no question has a graded record that is moved: nothing was judged"
        return Verdict("relevance", "overall", False, figures, reason=reason)
    there = _Side.of(kept, target, rules.k)
    figures["target"] = there.figures(confidence)
    reasons = []
    if len(kept) < rules.min_queries:
        reasons.append(f"{len(kept)} questions, {rules.min_queries} are required: the interval would not mean much")
    if rules.min_ndcg is not None and figures["target"]["ndcg_low"] < rules.min_ndcg:
        reasons.append(
            f"the target's nDCG@{rules.k} {_shown(figures['target'], 'ndcg')} does not reach {rules.min_ndcg}"
        )
    lower: list[Difference] = []
    if isinstance(source, str):
        figures["source"] = {"not_measured": source}
        if rules.min_ndcg is None:
            reasons.append(f"{source}: there is nothing to hold the target against; give `checks.relevance.min_ndcg`")
    else:
        here = _Side.of(kept, source, rules.k)
        figures["source"] = here.figures(confidence)
        figures["difference"] = _told("ndcg", there.ndcg - here.ndcg, confidence)
        lower = _lower(kept, here, there, target, source)
        if figures["difference"]["ndcg_low"] < -rules.tolerance:
            reasons.append(
                f"the target's nDCG@{rules.k} differs from the source's by {_shown(figures['difference'], 'ndcg')}: "
                f"it may be more than {rules.tolerance:g} lower"
            )
    shown, total = (tuple(lower[:MOST_KEPT]), len(lower)) if reasons else ((), 0)
    passed = not reasons
    return Verdict("relevance", "overall", passed, figures, shown, total, "; ".join(reasons) or _left_out(figures))


def _shown(figures: Mapping[str, float], name: str) -> str:
    return f"{figures[name]:.4f} [{figures[f'{name}_low']:.4f}, {figures[f'{name}_high']:.4f}]"


def _left_out(figures: Mapping[str, Any]) -> str:
    """What a person should know of a check that passed."""
    said = {"absent": "not in the source", "excused": "left behind", "set_aside": "written since the plan"}
    told = [f"{figures[name]:,} {words}" for name, words in said.items() if figures[name]]
    told += ["the source was not measured"] if "not_measured" in figures["source"] else []
    return f"of {figures['judgements']:,} grades some do not count: {', '.join(told)}" if told else ""


def _lower(kept: Sequence[Judged], here: _Side, there: _Side, target: Answers, source: Answers) -> list[Difference]:
    """The questions that the target answers worse, worst first, each with the best record that it lacks and the source has."""
    order = np.argsort(there.ndcg - here.ndcg, kind="stable")
    found = []
    for place in order[: int((there.ndcg < here.ndcg).sum())]:
        each = kept[place]
        lost = [id_ for id_ in source[each.name] if id_ not in target[each.name]] or list(source[each.name])
        best = max(lost, key=lambda id_: each.grades.get(id_, 0.0), default="")
        was, now = f"nDCG {here.ndcg[place]:.4f}", f"nDCG {there.ndcg[place]:.4f}"
        found.append(
            Difference(DifferenceKind.RESULT, each.question.namespace, best, f"question {each.name}", was, now)
        )
    return found
