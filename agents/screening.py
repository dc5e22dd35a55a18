"""The quick screen: the proposals of one alert on a few golden cases, before the first of them is validated in full.

The configuration in force and up to a handful of candidates answer the same cases side by side. What is asked is one
thing: does the metric of the alert get better? The answer may change the order in which the proposals are tried, and
nothing else: no proposal is dropped or approved by it, its answers are not read by the validation, and where it cannot
be had the order stays. See docs/adr/0004-quick-screen.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from agents.change import Change, RefusedChangeError, apply, check_allowed
from agents.review import start_first
from analysis import screening
from core.completion import Grader
from core.settings import Settings
from core.states import CaseOutcome
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.models.validation import GoldenCase
from db.queries.proposals import ScreenRecord
from db.repositories import audit, golden, proposals
from db.repositories.jobs import Claim
from db.session import Sessions
from targets.answers import Answer, Target
from targets.checks import Check, Graded
from targets.evaluators import judge, metrics_of, parse_checks
from targets.spec import InvalidTargetError, Spec, open_target, parse_target

BASELINE = 0
"""The arm of the configuration in force; the others are named by their proposal's id."""

ATTEMPTS = 2
"""A screen that cost two workers their lives is not begun again: the validation must not wait for it."""

EVERY_RUN = frozenset({"error_free", "sla_met", "latency_ms"})
"""Metrics that every case can show, whatever its checks."""

ERROR_CAP = 300


@dataclass(frozen=True)
class Limits:
    """How much a screen may take.

    Attributes:
        candidates: proposals, by rank.
        calls: answers, all arms together.
        seconds: no case is begun later.
        usd: no case is begun once so much is spent, as far as answers tell their price.
    """

    candidates: int = 3
    cases: int = 16
    calls: int = 64
    seconds: float = 120
    usd: float = 0.5

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits of an installation."""
        return cls(
            settings.screen_candidates,
            settings.screen_cases,
            settings.screen_calls,
            settings.screen_seconds,
            settings.screen_usd,
        )


@dataclass(frozen=True)
class Screen:
    """A screen, read from the database."""

    metric: str
    spec: Spec
    sla_ms: float
    configs: Mapping[int, Mapping[str, Any]]
    """By arm."""
    cases: list[GoldenCase]
    """In the order in which they are asked."""
    checks: dict[int, list[Check]]
    """By case: those of the metric."""
    matching: int
    """Cases that match a cause."""
    limits: Limits
    left_out: Mapping[int, str] = field(default_factory=dict)
    """Proposals that are not screened: why."""

    @property
    def needs_grader(self) -> bool:
        """Whether a check is judged by a model."""
        return any(isinstance(check, Graded) for checks in self.checks.values() for check in checks)


@dataclass
class Seen:
    """What a screen saw.

    Attributes:
        scores: by arm, of each case; NaN without an answer. Arms that could not be asked are not in it.
        left_out: proposals that were not screened: why.
        ended: why it ended before its last case; None where it did not.
    """

    metric: str
    scores: dict[int, np.ndarray[Any, np.dtype[np.float64]]] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    matching: int = 0
    calls: dict[int, int] = field(default_factory=dict)
    usd: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    ended: str | None = None


# -- before --------------------------------------------------------------------------------------------------------


def load(sessions: Sessions, alert_id: int, limits: Limits, *, attempt: int = 1) -> Screen | Seen:
    """Read what is to be screened; where there is nothing to look at, return that with the reason.

    Args:
        attempt: how often the screen has been begun, from 1.
    """
    with sessions() as session:
        rows = proposals.to_be_tried(session, alert_id)
        metric = rows[0].metric if rows else ""
        if len(rows) < 2:
            return Seen(metric)
        if attempt > ATTEMPTS:
            return _none(rows, f"it was begun {ATTEMPTS} times and never came to its end")
        app = session.get_one(App, rows[0].app_id)
        configs: dict[int, Mapping[str, Any]] = {}
        left_out: dict[int, str] = {}
        for row in rows:
            change = Change.model_validate(row.change)
            if len(configs) == limits.candidates:
                left_out[row.id] = f"only the first {limits.candidates} are screened"
                continue
            try:
                check_allowed(change, app.allowed)
            except RefusedChangeError as refusal:
                left_out[row.id] = str(refusal)
                continue
            configs[row.id] = apply(app.config, change)
        if len(configs) < 2:
            return _none(rows, "there is no second one to compare with", left_out)
        try:
            spec = parse_target(app.target)
        except InvalidTargetError as error:
            return _none(rows, str(error))
        chosen = golden.newest(session, app.id)
        found = {} if chosen is None else _cases(session, chosen.id, metric)
        size = min(limits.cases, limits.calls // (len(configs) + 1))
        causes = {_cause(row): row.cause.get("conditions") or {} for row in rows if row.id in configs}
        ids, matching = screening.batch(
            [(case.id, case.tags) for case, _ in found.values()], list(causes.values()), size=size
        )
        if not ids:
            why = "there is no golden set" if chosen is None else f"no golden case shows {metric}"
            return _none(rows, why if size else "its budget allows no call")
        return Screen(
            metric=metric,
            spec=spec,
            sla_ms=app.sla_ms,
            configs={BASELINE: app.config, **configs},
            cases=[found[case_id][0] for case_id in ids],
            checks={case_id: found[case_id][1] for case_id in ids},
            matching=matching,
            limits=limits,
            left_out=left_out,
        )


def _none(rows: list[ImprovementProposal], why: str, left_out: Mapping[int, str] | None = None) -> Seen:
    return Seen(rows[0].metric, left_out={**{row.id: why for row in rows}, **(left_out or {})})


def _cases(session: Session, set_id: int, metric: str) -> dict[int, tuple[GoldenCase, list[Check]]]:
    """Return the cases that can show a metric, with the checks that do."""
    found = {}
    for case in golden.cases_of(session, set_id):
        checks = [check for check in parse_checks(case.checks) if metric in metrics_of([check])]
        if checks or metric in EVERY_RUN:
            found[case.id] = (case, checks)
    return found


def _cause(proposal: ImprovementProposal) -> str:
    return str(proposal.cause.get("id", ""))


# -- the screen ----------------------------------------------------------------------------------------------------


def look(
    screen: Screen,
    *,
    opener: Callable[[Spec], Target] = open_target,
    grader: Grader | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Seen:
    """Ask all arms every case, side by side, until the cases or the budget are at their end.

    An arm that could not be asked once says nothing from then on: an outage is no evidence. Without the configuration
    in force there is nothing to compare with, and the screen ends.

    Args:
        opener: opens a target; one per arm.
        grader: the model that judges by criteria, where one is configured.
    """
    seen = Seen(screen.metric, left_out=dict(screen.left_out), matching=screen.matching)
    scores = {arm: np.full(len(screen.cases), np.nan) for arm in screen.configs}
    seen.calls, seen.usd = dict.fromkeys(scores, 0), dict.fromkeys(scores, 0.0)
    gate = threading.BoundedSemaphore(2 * screen.spec.concurrency)  # as many as the pairs of a validation
    targets = {arm: opener(screen.spec) for arm in scores}
    pools = {arm: ThreadPoolExecutor(1, thread_name_prefix=f"screen-{arm}") for arm in scores}
    begun = clock()

    def ask(arm: int, case: GoldenCase) -> Answer:
        with gate:
            return targets[arm].ask(case.inputs, screen.configs[arm])

    try:
        for place, case in enumerate(screen.cases):
            seen.ended = _over(screen.limits, clock() - begun, sum(seen.usd.values()), place)
            if seen.ended:
                break
            _wait_for_turn(screen, len(scores), place, clock() - begun)
            arms = list(scores)
            arms = arms[place % len(arms) :] + arms[: place % len(arms)]  # nobody always goes first
            asked = {arm: pools[arm].submit(ask, arm, case) for arm in arms}
            for arm, future in asked.items():
                answer = future.result()
                seen.calls[arm] += 1
                seen.usd[arm] += answer.cost or 0.0
                if answer.outcome is CaseOutcome.NOT_RUN:
                    seen.left_out[arm] = f"it could not be asked: {answer.error or 'no reason was told'}"[:ERROR_CAP]
                    del scores[arm]
                    continue
                scores[arm][place] = _score(screen, case, answer, grader)
            if BASELINE not in scores or len(scores) < 2:
                break
    finally:
        for arm, pool in pools.items():
            # On its own thread: the kernel ends a sandbox when the thread that started it does.
            pool.submit(targets[arm].close).result()
            pool.shutdown()
    seen.seconds = round(clock() - begun, 3)
    outage = seen.left_out.pop(BASELINE, None)
    if outage is not None:
        seen.left_out |= {arm: outage for arm in screen.configs if arm != BASELINE}
        scores = {}
    seen.scores = scores
    return seen


def _over(limits: Limits, seconds: float, usd: float, place: int) -> str | None:
    if seconds >= limits.seconds:
        return f"its {limits.seconds:g} s were over after {place} cases"
    if place and usd >= limits.usd:
        return f"its ${limits.usd:g} were spent after {place} cases"
    return None


def _wait_for_turn(screen: Screen, arms: int, place: int, elapsed: float) -> None:
    """Keep to the rate that the app allows, which counts a case with two arms as one."""
    rate = screen.spec.rate_per_minute
    if rate:
        due = place * 60 / rate * arms / 2
        time.sleep(max(min(due, screen.limits.seconds) - elapsed, 0))


def _score(screen: Screen, case: GoldenCase, answer: Answer, grader: Grader | None) -> float:
    """Return one answer's score on the alert's metric, as the alert means it; NaN where it could not be judged."""
    if screen.metric == "latency_ms":
        known = answer.outcome is CaseOutcome.OK and answer.latency_ms is not None
        return float(answer.latency_ms or 0.0) if known else float("nan")
    judged = judge(answer, screen.checks[case.id], sla_ms=screen.sla_ms, grader=grader, question=case.inputs)
    score = judged.scores.get(screen.metric, float("nan"))
    if screen.metric == "sla_met":
        return min(score, judged.scores["error_free"])  # for the alert, a run that failed kept no promise
    return score


# -- after ---------------------------------------------------------------------------------------------------------


def conclude(session: Session, alert_id: int, seen: Seen, *, now: datetime, parent: Claim | None = None) -> None:
    """Write what was seen, order the proposals that nobody has decided about meanwhile, and start the first ones.

    One transaction with the job's end. Delivered twice, late, or after people went ahead, it starts nothing twice.
    """
    rows = proposals.to_be_tried(session, alert_id, lock=True)
    lower = seen.metric == "latency_ms"
    baseline = seen.scores.get(BASELINE)
    candidates = [screening.Candidate(row.id, _cause(row), seen.scores.get(row.id)) for row in rows]
    by_id = {row.id: row for row in rows}
    before = {row.id: row.rank for row in rows}
    ordered = [by_id[int(str(name))] for name in screening.order(candidates, baseline, lower_is_better=lower)]
    for row, rank in zip(ordered, sorted(before.values()), strict=True):
        row.rank = rank
    for row in rows:
        found = _as_json(seen, row.id, lower=lower)
        if found is None:
            continue
        row.screen = {"at": now.isoformat(), **found, "rank_before": before[row.id], "rank_after": row.rank}
        if row.rank != before[row.id]:
            audit.record(
                session,
                actor="policy:screen",
                action="proposal.rank",
                subject=f"proposal:{row.id}",
                reason=f"the quick screen: {ScreenRecord.model_validate(row.screen).says}",
                before=before[row.id],
                after=row.rank,
            )
    session.flush()
    start_first(session, alert_id, parent=parent)


def _as_json(seen: Seen, proposal_id: int, *, lower: bool) -> dict[str, Any] | None:
    spent = {
        "metric": seen.metric,
        "calls": seen.calls.get(proposal_id, 0),
        "cost_usd": round(seen.usd.get(proposal_id, 0.0), 6),
        "seconds": seen.seconds,
    }
    if (why := seen.left_out.get(proposal_id)) is not None:
        return {**spent, "skipped": why[:ERROR_CAP]}
    if proposal_id not in seen.scores:
        return None
    found = screening.compare(seen.scores[BASELINE], seen.scores[proposal_id], lower_is_better=lower)
    if found.cases == 0:
        return {**spent, "skipped": "no case could be judged in both arms"}
    return {
        **spent,
        "skipped": None,
        "cases": found.cases,
        "matching": seen.matching,
        "better": found.better,
        "worse": found.worse,
        "difference": found.difference,
        "p_better": found.p_better,
        "p_worse": found.p_worse,
        "ended": seen.ended,
    }
