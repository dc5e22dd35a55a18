"""The deterministic sentences: what research says without a model, and where a model failed."""

from __future__ import annotations

from agents.research.evidence import CauseRecord, Evidence

METRIC_WORDS = {
    "error_free": "failed",
    "sla_met": "failed or broke the SLA",
    "latency_ms": "were among the slowest",
}


def root_cause(cause: CauseRecord, evidence: Evidence) -> str:
    """Say in three sentences at most what fails, since when, and what else was seen.

    Args:
        evidence: about this cause.
    """
    verb = METRIC_WORDS.get(evidence.success_metric, f"scored badly on {evidence.success_metric}")
    where = "All runs are hit" if not cause.conditions else f"Runs with {cause.words} are hit"
    sentences = [
        f"{where}: {cause.failures} of {cause.runs} {verb}, where {cause.expected:.0f} would be usual; "
        f"that is {cause.explained:.0%} of all excess failures."
    ]
    if cause.onset is not None:
        since = "" if cause.rate_since is None else f"; since then {cause.rate_since:.0%} of them {verb}"
        sentences.append(f"It began about {cause.onset:%Y-%m-%d %H:%M:%S} UTC{since}.")
    if evidence.errors and evidence.errors[0].share >= 0.3:
        top = evidence.errors[0]
        sentences.append(f"{top.share:.0%} of these failures are {top.kind or top.template!r}.")
    return " ".join(sentences)


def nothing_found(evidence: Evidence | None) -> str:
    """Say that nothing stands out, and on how much evidence."""
    if evidence is None:
        return "This metric is about traffic as a whole: no set of runs can carry it."
    return (
        f"Nothing stands out among {evidence.bad_runs} runs of the bad window ({evidence.bad_failures} bad) "
        f"against {evidence.baseline_runs} of the baseline ({evidence.baseline_failures} bad)."
    )
