"""What the executions of a run say: metrics side by side, the verdict, and the cases that got worse."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.validation_plan import ALPHA, LATENCY_MARGIN, MARGIN
from agents.validation_run import ARMS
from analysis.paired import PairedResult, compare_binary, compare_continuous
from analysis.verdict import Outcome, judge
from core.states import CaseOutcome, Verdict
from db.models.validation import GoldenCase, ValidationCase
from targets.evaluators import metrics_of, parse_checks

REPORTED = frozenset({"latency_ms"})
"""Compared and shown, but no part of the verdict: the SLA says how slow is too slow."""
REGRESSED_CAP = 200
EXCERPT = 500
ERROR_SHARE = 0.05
"""Share of executions without an answer from which on an open verdict is an error of the run."""


def compare(
    cases: Sequence[GoldenCase], executions: Sequence[ValidationCase], *, repeats: int
) -> dict[str, PairedResult]:
    """Compare the arms metric by metric, each over the cases that it applies to.

    An execution that is not there, was not run or could not be judged is NaN; one where the target failed scored 0.
    """
    at = {case.id: i for i, case in enumerate(cases)}
    applies: dict[str, set[int]] = {"error_free": set(at.values()), "sla_met": set(at.values())}
    for case in cases:
        for metric in metrics_of(parse_checks(case.checks)):
            applies.setdefault(metric, set()).add(at[case.id])
    names = [*applies, "latency_ms"]
    table: NDArray[np.float64] = np.full((len(names), 2, len(cases), repeats), np.nan)
    column = {name: i for i, name in enumerate(names)}
    for row in executions:
        if row.case_id not in at or row.repeat >= repeats:
            continue
        place = (ARMS.index(row.arm), at[row.case_id], row.repeat)
        for metric, score in row.scores.items():
            if metric in column:
                table[(column[metric], *place)] = score
        if row.latency_ms is not None and row.outcome is CaseOutcome.OK:
            table[(column["latency_ms"], *place)] = row.latency_ms
    results = {}
    for metric, where in applies.items():
        index = sorted(where)
        results[metric] = compare_binary(*table[column[metric]][:, index], margin=MARGIN)
    results["latency_ms"] = compare_continuous(
        *table[column["latency_ms"]], margin=LATENCY_MARGIN, lower_is_better=True
    )
    return results


def decide(
    results: Mapping[str, PairedResult], executions: Sequence[ValidationCase], *, expected: int, alpha: float = ALPHA
) -> tuple[Verdict, list[str]]:
    """Return the verdict with its reasons. An outage or a judge that failed is an error, never evidence.

    Args:
        expected: executions that a whole run has.
    """
    outcomes = Counter(row.outcome for row in executions)
    silent = {
        "were not run": expected - len(executions) + outcomes[CaseOutcome.NOT_RUN] + outcomes[CaseOutcome.SKIPPED],
        "could not be judged": outcomes[CaseOutcome.JUDGE_ERROR],
    }
    share = sum(silent.values()) / max(expected, 1)
    found = judge({name: result for name, result in results.items() if name not in REPORTED}, alpha=alpha)
    told = [f"{count} of {expected} executions {how}" for how, count in silent.items() if count]
    told += [f"for example: {row.error}" for row in _first_silent(executions) if row.error]
    if share > 0.5 or (found.outcome is Outcome.INCONCLUSIVE and share >= ERROR_SHARE):
        return Verdict.ERROR, told
    return Verdict(found.outcome.value), [*found.reasons, *told]


def regressions(cases: Sequence[GoldenCase], executions: Sequence[ValidationCase]) -> tuple[list[dict[str, Any]], int]:
    """Return the cases whose score fell, with both answers, worst first and capped; and how many cases there are."""
    grouped: dict[tuple[int, str], list[ValidationCase]] = {}
    for row in executions:
        grouped.setdefault((row.case_id, row.arm), []).append(row)
    found: list[tuple[float, dict[str, Any]]] = []
    for case in cases:
        before, after = (grouped.get((case.id, arm), []) for arm in ARMS)
        for metric in sorted({name for row in before for name in row.scores}):
            old, new = _mean(before, metric), _mean(after, metric)
            if old is None or new is None or new >= old:
                continue
            one, other = _worst(before, metric, best=True), _worst(after, metric, best=False)
            found.append(
                (
                    new - old,
                    {
                        "key": case.key,
                        "metric": metric,
                        "baseline": old,
                        "candidate": new,
                        "baseline_output": (one.output or "")[:EXCERPT],
                        "candidate_output": (other.output or "")[:EXCERPT],
                        "baseline_error": one.error,
                        "candidate_error": other.error,
                        "baseline_run_id": one.run_id,
                        "candidate_run_id": other.run_id,
                    },
                )
            )
    found.sort(key=lambda entry: (entry[0], entry[1]["key"], entry[1]["metric"]))
    return [entry for _, entry in found[:REGRESSED_CAP]], len({entry["key"] for _, entry in found})


def _first_silent(executions: Sequence[ValidationCase]) -> list[ValidationCase]:
    silent = (CaseOutcome.NOT_RUN, CaseOutcome.JUDGE_ERROR)
    return [row for row in executions if row.outcome in silent][:1]


def _mean(rows: Sequence[ValidationCase], metric: str) -> float | None:
    scores = [float(row.scores[metric]) for row in rows if metric in row.scores]
    return sum(scores) / len(scores) if scores else None


def _worst(rows: Sequence[ValidationCase], metric: str, *, best: bool) -> ValidationCase:
    scored = [row for row in rows if metric in row.scores]
    pick = max if best else min
    return pick(scored, key=lambda row: float(row.scores[metric]))


def number(value: float | None) -> float | None:
    """Return the number, or None for NaN and infinity: JSON knows neither, and Postgres refuses them."""
    return value if value is not None and math.isfinite(value) else None


def as_json(result: PairedResult) -> dict[str, Any]:
    """Return a result in the form that is stored and served."""
    fields = asdict(result)
    fields["interval"] = [number(bound) for bound in result.interval]
    return {name: number(value) if isinstance(value, float) else value for name, value in fields.items()}
