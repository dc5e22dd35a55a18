"""What the executions of a run say: metrics side by side, the verdict, and the cases that got worse."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.validation.plan import ALPHA, LATENCY_MARGIN, MARGIN
from agents.validation.run import ARMS
from analysis.paired import PairedResult, compare_binary, compare_continuous
from analysis.verdict import Outcome, holm, judge, worse_slices
from core.states import CaseOutcome, Verdict
from db.models.validation import GoldenCase, ValidationCase
from db.repositories.validations import Execution
from targets.evaluators import metrics_of, parse_checks

REPORTED = frozenset({"latency_ms"})
"""Compared and shown, but no part of the verdict: the SLA says how slow is too slow."""
REGRESSED_CAP = 200
EXCERPT = 500
SLICE_CASES = 5
"""Fewer cases of a tag's value are no slice."""
SLICES_CAP = 100
SLICES_TOLD = 3
ERROR_SHARE = 0.05
"""Share of executions without an answer from which on an open verdict is an error of the run."""


def compare(cases: Sequence[GoldenCase], executions: Sequence[Execution], *, repeats: int) -> dict[str, PairedResult]:
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
    results: Mapping[str, PairedResult],
    executions: Sequence[Execution],
    *,
    expected: int,
    alpha: float = ALPHA,
    example: str | None = None,
) -> tuple[Verdict, list[str]]:
    """Return the verdict with its reasons. An outage or a judge that failed is an error, never evidence.

    Args:
        expected: executions that a whole run has.
        example: what stood in the way of one that was not run or not judged.
    """
    outcomes = Counter(row.outcome for row in executions)
    silent = {
        "were not run": expected - len(executions) + outcomes[CaseOutcome.NOT_RUN] + outcomes[CaseOutcome.SKIPPED],
        "could not be judged": outcomes[CaseOutcome.JUDGE_ERROR],
    }
    share = sum(silent.values()) / max(expected, 1)
    found = judge({name: result for name, result in results.items() if name not in REPORTED}, alpha=alpha)
    told = [f"{count} of {expected} executions {how}" for how, count in silent.items() if count]
    told += [f"for example: {example}"] if example and any(silent.values()) else []
    if share > 0.5 or (found.outcome is Outcome.INCONCLUSIVE and share >= ERROR_SHARE):
        return Verdict.ERROR, told
    return Verdict(found.outcome.value), [*found.reasons, *told]


def where_worse(
    cases: Sequence[GoldenCase],
    executions: Sequence[Execution],
    results: Mapping[str, PairedResult],
    *,
    repeats: int,
    alpha: float = ALPHA,
) -> list[str]:
    """Return in which slices by tag the failed metrics got worse: `fact_accuracy in region = emea: worse by …`."""
    adjusted = holm({name: result.p_worse for name, result in results.items() if name not in REPORTED})
    failed = [name for name, p in adjusted.items() if p <= alpha]
    slices: dict[str, list[GoldenCase]] = {}
    for case in cases:
        for tag, value in case.tags.items():
            slices.setdefault(f"{tag} = {value}", []).append(case)
    large = {name: rows for name, rows in slices.items() if SLICE_CASES <= len(rows) < len(cases)}
    compared = {name: compare(rows, executions, repeats=repeats) for name, rows in list(large.items())[:SLICES_CAP]}
    told = []
    for metric in failed:
        within = {name: found[metric] for name, found in compared.items() if metric in found}
        told += [f"{metric} in {sentence}" for sentence in worse_slices(within, alpha=alpha)[:SLICES_TOLD]]
    return told


def worse_cases(executions: Sequence[Execution]) -> list[tuple[int, str, float, float]]:
    """Return (case id, metric, score before, score after) of each metric of a case that fell, worst first."""
    grouped: dict[tuple[int, str], list[Execution]] = {}
    for row in executions:
        grouped.setdefault((row.case_id, row.arm), []).append(row)
    found = []
    for case_id in dict.fromkeys(case_id for case_id, _ in grouped):
        before, after = (grouped.get((case_id, arm), []) for arm in ARMS)
        for metric in sorted({name for row in before for name in row.scores}):
            old, new = _mean(before, metric), _mean(after, metric)
            if old is not None and new is not None and new < old:
                found.append((case_id, metric, old, new))
    return sorted(found, key=lambda entry: (entry[3] - entry[2], entry[0], entry[1]))


def regressed(
    worse: Sequence[tuple[int, str, float, float]],
    keys: Mapping[int, str],
    answers: Sequence[ValidationCase],
    run_url: Callable[[str], str],
) -> list[dict[str, Any]]:
    """Return the stored form of cases that got worse, with both answers and where they can be looked at.

    Args:
        keys: names of the cases by id.
        answers: the executions of these cases, with what was said.
    """
    by_case: dict[tuple[int, str], list[ValidationCase]] = {}
    for row in answers:
        by_case.setdefault((row.case_id, row.arm), []).append(row)
    entries = []
    for case_id, metric, old, new in worse:
        one = _pick(by_case[case_id, "baseline"], metric, best=True)
        other = _pick(by_case[case_id, "candidate"], metric, best=False)
        entries.append(
            {
                "key": keys[case_id],
                "metric": metric,
                "baseline": old,
                "candidate": new,
                "baseline_output": (one.output or "")[:EXCERPT],
                "candidate_output": (other.output or "")[:EXCERPT],
                "baseline_error": one.error,
                "candidate_error": other.error,
                "baseline_run_id": one.run_id,
                "candidate_run_id": other.run_id,
                "baseline_url": run_url(one.run_id) if one.run_id else None,
                "candidate_url": run_url(other.run_id) if other.run_id else None,
            }
        )
    return entries


def _mean(rows: Sequence[Execution], metric: str) -> float | None:
    scores = [float(row.scores[metric]) for row in rows if metric in row.scores]
    return sum(scores) / len(scores) if scores else None


def _pick(rows: Sequence[ValidationCase], metric: str, *, best: bool) -> ValidationCase:
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
