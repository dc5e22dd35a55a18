"""The investigation itself: windows in, evidence and ranked hypotheses out. Pure but for the runs it is handed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.change import AllowedKey
from agents.research.evidence import (
    FIRST,
    TEXT_CAP,
    CauseRecord,
    ConfigChange,
    ErrorPattern,
    Evidence,
    Exemplar,
    Hypothesis,
    NewValue,
    PastIncident,
    ValueHealth,
)
from agents.research.generators import Situation, hypotheses
from agents.research.history import History
from agents.research.predict import predict
from agents.research.sample import NOT_ABOUT_RUNS, Sample, sample
from analysis.errors import Known, Pattern, group
from analysis.localise import Cause, localise
from core.states import ProposalStatus
from llm.redaction import redact, redact_all
from traces.source import TraceRun

Flags = NDArray[np.bool_]

MIN_RUNS = 20
MIN_FAILURES = 5
"""A bad window with fewer (failing) runs is too thin to judge."""

CONCLUSIVE = 1e-6
"""p-value from which a cause is not going to change with more runs."""

HEALTH_VALUES = 60
NEW_VALUES = 20
NEW_RUNS = 3
"""A value is new where so many runs have it and none of the baseline's did."""

VERSIONS = ("revision_id", "ls_model_name")
"""Attributes that the tracing sets: never a cause by themselves, yet they say what was deployed."""

INCIDENTS = 5
PATTERNS = 10
"""Error patterns of a cause that are shown."""
REMEMBERED = 200
"""Error patterns of one investigation that are kept."""

VALUE_CAP = 200
"""Characters of an attribute's value that are shown."""
EXEMPLARS = 3


@dataclass(frozen=True)
class Subject:
    """What an investigation is about, read before it starts."""

    alert_id: int | None
    app_id: int
    app: str
    metric: str
    window_start: datetime
    opened_at: datetime
    sla_ms: int
    source: str = "embedded"
    """Where the app's runs come from: see `traces.select`."""
    config: Mapping[str, Any] = field(default_factory=dict)
    allowed: Mapping[str, Any] = field(default_factory=dict)
    changes: Sequence[ConfigChange] = ()
    tried: Mapping[str, str] = field(default_factory=dict)
    """Changes that fell recently, by hash: how."""
    history: History = field(default_factory=History)
    """Earlier fixes, of all apps."""
    known_errors: Sequence[Known] = ()
    """Error patterns of before."""


@dataclass(frozen=True)
class Finding:
    """What came out."""

    evidence: Evidence | None
    sample: Sample | None
    hypotheses: list[Hypothesis] = field(default_factory=list)
    conclusive: bool = False
    """Whether more runs could hardly change it."""
    patterns: Sequence[Pattern] = ()
    """Error patterns that were seen, to be remembered."""
    selects: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Each cause's conditions as they are in the runs, for counting alone: the cause's own are redacted."""

    @property
    def cause(self) -> CauseRecord | None:
        """The cause that explains most."""
        return self.evidence.causes[0] if self.evidence and self.evidence.causes else None

    def cause_of(self, idea: Hypothesis) -> CauseRecord | None:
        """Return the cause that a hypothesis is about."""
        causes = self.evidence.causes if self.evidence else []
        return next((cause for cause in causes if cause.id == idea.cause), None)


def about_runs(metric: str) -> bool:
    """Tell whether a metric is one that a single run can fail."""
    return metric not in NOT_ABOUT_RUNS


def investigate(subject: Subject, bad: Sequence[TraceRun], baseline: Sequence[TraceRun]) -> Finding:
    """Localise the degradation and derive what would help."""
    laid_out = sample(bad, baseline, metric=subject.metric, sla_ms=subject.sla_ms)
    judged = np.isfinite(laid_out.values)
    failed = laid_out.failed & judged
    causes: list[Cause] = []
    enough = (laid_out.bad & judged).sum() >= MIN_RUNS and (laid_out.bad & failed).sum() >= MIN_FAILURES
    if enough and (~laid_out.bad & judged).any():
        causes = localise(
            laid_out.columns,
            laid_out.values.tolist(),
            laid_out.bad.tolist(),
            times=[run.start_time.timestamp() for run in laid_out.runs],
            worse="higher",
        )
    records = [_cause_record(f"cause-{n}", cause, subject) for n, cause in enumerate(causes, 1)]
    records = [_since(record, laid_out, failed, judged) for record in records]
    patterns, errors = _errors(laid_out, failed, records, subject.known_errors)
    evidence = Evidence(
        alert_id=subject.alert_id,
        app=subject.app,
        metric=subject.metric,
        success_metric=laid_out.metric,
        bad_from=subject.window_start,
        bad_until=max((run.start_time for run in bad), default=subject.window_start),
        baseline_from=min((run.start_time for run in baseline), default=None),
        baseline_until=max((run.start_time for run in baseline), default=None),
        bad_runs=int((laid_out.bad & judged).sum()),
        bad_failures=int((laid_out.bad & failed).sum()),
        baseline_runs=int((~laid_out.bad & judged).sum()),
        baseline_failures=int((~laid_out.bad & failed).sum()),
        causes=records,
        changes=list(subject.changes),
        new_values=_new_values(laid_out),
        incidents=_incidents(subject, records),
        errors=errors,
        exemplars=_exemplars(laid_out, failed, records, subject.metric),
        health=_health(laid_out, failed, judged),
    )
    if not records:
        return Finding(_redacted(evidence), laid_out, patterns=patterns)
    ideas = together([_ideas(subject, evidence, record, laid_out) for record in records])
    return Finding(
        _redacted(evidence),
        laid_out,
        [_redacted_idea(idea) for idea in ideas],
        conclusive=records[0].p_value < CONCLUSIVE,
        patterns=patterns,
        selects={record.id: record.conditions for record in records},
    )


def _ideas(
    subject: Subject, evidence: Evidence, cause: CauseRecord, laid_out: Sample
) -> list[tuple[float, Hypothesis]]:
    """Return what would help against one cause, in the order in which it should be tried, with the predicted gain."""
    own = evidence.about(cause.id)
    situation = Situation(own, cause, subject.config, subject.allowed, subject.sla_ms, subject.tried)
    found = []
    for idea in subject.history.ranked(hypotheses(situation)):
        named = _recalling(idea, own.incidents).model_copy(update={"cause": cause.id})
        promise = predict(
            laid_out,
            cause.conditions,
            idea.kind,
            began=cause.began,
            efficacy=subject.history.efficacy(idea.kind),
        )
        found.append((promise.pct, named))
    return found


def together(by_cause: Sequence[Sequence[tuple[float, Hypothesis]]]) -> list[Hypothesis]:
    """Merge the ideas for several causes into one ranking, the rejected ones behind.

    By predicted gain over all traffic, which counts how many runs a cause reaches; ideas for one cause keep their order
    among themselves. A change that mends two causes is one idea, for the cause that it is worth more for; and what is
    proposed for one cause is not told as ruled out for another.
    """
    queues = [[entry for entry in ideas if entry[1].rejected is None] for ideas in by_cause]
    viable: list[Hypothesis] = []
    while any(queues):
        best = max((queue for queue in queues if queue), key=lambda queue: queue[0][0])
        idea = best.pop(0)[1]
        if idea.change is None or all(other.change != idea.change for other in viable):
            viable.append(idea)
    proposed = {(idea.kind, idea.title) for idea in viable}
    rejected = [idea for ideas in by_cause for _, idea in ideas if idea.rejected is not None]
    return viable + [idea for idea in rejected if (idea.kind, idea.title) not in proposed]


def _redacted(evidence: Evidence) -> Evidence:
    """Return the packet without what looks like a secret: from here on it is stored, shown and sent."""
    plain = evidence.model_dump()
    for cause in plain["causes"]:
        cause["conditions"] = _shown(cause["conditions"])
        cause["aliases"] = [_shown(alias) for alias in cause["aliases"]]
    urls = [entry["url"] for entry in plain["exemplars"]]
    # what comes of traces; changes, incidents and addresses are our own
    for name in ("causes", "new_values", "errors", "exemplars", "health"):
        plain[name] = redact_all(plain[name])
    for entry, url in zip(plain["exemplars"], urls, strict=True):
        entry["url"] = url
    return Evidence.model_validate(plain)


def _shown(conditions: Mapping[str, str]) -> dict[str, str]:
    """Return conditions for people: long values cut, secrets out, and still told apart by four digits of a hash."""
    shown = {}
    for key, value in conditions.items():
        safe = redact(value)
        if safe != value or len(safe) > VALUE_CAP:
            mark = hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:4]
            safe = f"{safe[:VALUE_CAP]} #{mark}"
        shown[key[:VALUE_CAP]] = safe
    return shown


def _redacted_idea(idea: Hypothesis) -> Hypothesis:
    words: dict[str, Any] = {
        name: redact(text) for name in ("title", "rejected", "risk") if (text := getattr(idea, name))
    }
    if idea.change is not None and idea.change.note:
        words["change"] = idea.change.model_copy(update={"note": redact(idea.change.note)[:2000]})
    return idea.model_copy(update=words)


def _cause_record(name: str, cause: Cause, subject: Subject) -> CauseRecord:
    """Put the cause into the app's own terms where the data cannot tell two conditions apart."""
    conditions, aliases = _in_terms_of_config(cause.conditions, cause.aliases, subject)
    low, high = cause.onset_interval or (None, None)
    return CauseRecord(
        id=name,
        conditions=conditions,
        excess=round(cause.excess, 2),
        explained=round(cause.explained, 4),
        precision=round(cause.precision, 4),
        p_value=cause.p_value,
        runs=cause.runs,
        failures=cause.failures,
        expected=round(cause.expected, 2),
        aliases=aliases,
        onset=_moment(cause.onset),
        onset_low=_moment(low),
        onset_high=_moment(high),
    )


def _since(record: CauseRecord, laid_out: Sample, failed: Flags, judged: Flags) -> CauseRecord:
    """Add how often the cause's runs fail since it began. A window that is seconds old is healthy in part."""
    if record.onset is None:
        return record
    after = laid_out.bad & judged & laid_out.mask(record.conditions) & (laid_out.started >= record.onset.timestamp())
    if after.sum() < MIN_FAILURES:
        return record
    return record.model_copy(update={"rate_since": round(float(failed[after].mean()), 4)})


def _in_terms_of_config(
    conditions: dict[str, str], aliases: list[dict[str, str]], subject: Subject
) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Prefer, among conditions that select the same runs, the one that a configuration key governs.

    A plan that maps one to one to a model is the same set of runs; the model is what a key can change.
    """
    rules = [(key, AllowedKey.model_validate(rule)) for key, rule in subject.allowed.items()]

    def governed(candidate: dict[str, str]) -> bool:
        return any(
            (rule.when and rule.when == candidate)
            or (rule.attribute is not None and candidate == {rule.attribute: str(subject.config.get(key))})
            for key, rule in rules
        )

    if governed(conditions):
        return conditions, aliases
    for alias in aliases:
        if governed(alias):
            return alias, [conditions, *(other for other in aliases if other != alias)]
    return conditions, aliases


def _incidents(subject: Subject, causes: list[CauseRecord]) -> list[PastIncident]:
    """Return what was done about the same cause, or else the same metric, and how that ended; the latest first."""
    told = (
        ProposalStatus.IMPLEMENTED,
        ProposalStatus.BLOCKED,
        ProposalStatus.ROLLED_BACK,
        ProposalStatus.REJECTED,
    )

    def same(conditions: Mapping[str, str]) -> str:
        return next((c.id for c in causes if conditions in (c.conditions, *c.aliases)), "")

    like = [
        (same(fix.conditions), fix)
        for fix in subject.history.fixes
        if fix.app == subject.app and fix.status in told and (same(fix.conditions) or fix.metric == subject.metric)
    ]
    like.sort(key=lambda entry: not entry[0])  # stable: the history comes latest first
    return [
        PastIncident(
            id=f"incident-{number}",
            proposal_id=fix.proposal_id,
            at=fix.created_at,
            title=fix.title[:TEXT_CAP],
            same_cause=bool(cause),
            cause=cause,
            key=str(fix.change.get("key", "")),
            outcome=fix.status.value,
            measured_pct=None if fix.measured_pct is None else round(fix.measured_pct, 2),
        )
        for number, (cause, fix) in enumerate(like[:INCIDENTS], 1)
    ]


def _recalling(idea: Hypothesis, incidents: list[PastIncident]) -> Hypothesis:
    """Cite what the same key did for the same cause before."""
    if idea.change is None or not idea.change.key:
        return idea
    recalled = [entry.id for entry in incidents if entry.same_cause and entry.key == idea.change.key]
    return idea.model_copy(update={"cites": [*idea.cites, *recalled]}) if recalled else idea


def _new_values(laid_out: Sample) -> list[NewValue]:
    """Return the values that appear in the bad window alone, with their first run, in order of time."""
    names = [*laid_out.columns, *VERSIONS]
    before: dict[str, set[str]] = {name: set() for name in names}
    first: dict[tuple[str, str], tuple[datetime, int]] = {}
    for run, bad in zip(laid_out.runs, laid_out.bad.tolist(), strict=True):
        for name in names:
            value = run.attributes.get(name)
            if value is None:
                continue
            if not bad:
                before[name].add(value)
                continue
            seen, count = first.get((name, value), (run.start_time, 0))
            first[name, value] = (seen, count + 1)
    new = [
        (seen, name, value, count)
        for (name, value), (seen, count) in first.items()
        if count >= NEW_RUNS and before[name] and value not in before[name]
    ]
    return [
        NewValue(id=f"new-{number}", attribute=name[:100], value=redact(value[:200]), first_seen=seen, runs=count)
        for number, (seen, name, value, count) in enumerate(sorted(new)[:NEW_VALUES], 1)
    ]


def _inside(laid_out: Sample, failed: Flags, causes: Sequence[CauseRecord]) -> list[tuple[str, Flags]]:
    """Return each cause's runs by its id; where there is none, all runs.

    What several causes select is evidence of none of them, as long as enough of a cause's failing runs is left.
    """
    if not causes:
        return [(FIRST, np.ones(len(laid_out.runs), dtype=bool))]
    masks = [laid_out.mask(cause.conditions) for cause in causes]
    found = []
    for cause, own in zip(causes, masks, strict=True):
        alone = own & (np.sum(masks, axis=0) == 1)
        enough = (alone & failed & laid_out.bad).sum() >= MIN_FAILURES
        found.append((cause.id, alone if enough else own))
    return found


def _errors(
    laid_out: Sample, failed: Flags, causes: Sequence[CauseRecord], known: Sequence[Known]
) -> tuple[list[Pattern], list[ErrorPattern]]:
    """Count the error patterns of the failing runs, cause by cause."""
    inside = _inside(laid_out, failed, causes)
    rows = np.flatnonzero(np.any([own for _, own in inside], axis=0) & failed)
    patterns = group([laid_out.runs[row].error or "" for row in rows], known, clean=redact)
    found: list[ErrorPattern] = []
    for cause, own in inside:
        total = max(int((own & failed & laid_out.bad).sum()), 1)
        before = len(found)
        for pattern in patterns:
            members = rows[pattern.members]
            members = members[own[members]]
            now = int(laid_out.bad[members].sum())
            if now == 0:
                continue
            mark = pattern.fingerprint
            found.append(
                ErrorPattern(
                    id=f"error-{len(found) + 1}",
                    fingerprint=pattern.key,
                    kind=mark.kind[:TEXT_CAP],
                    template=redact(mark.template)[:TEXT_CAP],
                    frames=[frame[:200] for frame in mark.frames],
                    bad=now,
                    baseline=len(members) - now,
                    share=round(now / total, 4),
                    cause=cause,
                )
            )
            if len(found) == before + PATTERNS:
                break
    return patterns[:REMEMBERED], found


def _exemplars(laid_out: Sample, failed: Flags, causes: Sequence[CauseRecord], metric: str) -> list[Exemplar]:
    """Pick bad runs of each cause, and for each a good run that is like it in as many other attributes as possible."""
    attributes = {cause.id: set(cause.conditions) for cause in causes}
    hit = np.any([laid_out.mask(cause.conditions) for cause in causes], axis=0) if causes else laid_out.bad
    # the latest runs: their traces are the likeliest to be complete and still there
    good = np.flatnonzero(~failed & np.isfinite(laid_out.values) & ~(laid_out.bad & hit))[-500:]
    found: list[Exemplar] = []
    used: set[int] = set()
    number = 0
    for cause, inside in _inside(laid_out, failed, causes):
        own = attributes.get(cause, set())
        for place in np.flatnonzero(laid_out.bad & inside & failed)[-EXEMPLARS:]:
            run = laid_out.runs[place]
            number += 1
            found.append(_exemplar(f"bad-{number}", run, "bad", metric, cause))
            free = [int(row) for row in good if int(row) not in used]
            if not free:
                continue
            match = max(
                free,
                key=lambda row, place=place, own=own: sum(  # type: ignore[misc]
                    column[row] == column[place] for name, column in laid_out.columns.items() if name not in own
                ),
            )
            used.add(match)
            found.append(_exemplar(f"good-{number}", laid_out.runs[match], "good", metric, cause))
    return found


def _exemplar(name: str, run: TraceRun, kind: Any, metric: str, cause: str) -> Exemplar:
    return Exemplar(
        id=name,
        run_id=str(run.id),
        url=run.url or None,
        kind=kind,
        start_time=run.start_time,
        latency_ms=None if run.latency_s is None else round(run.latency_s * 1000, 1),
        error=None if run.error is None else redact(run.error[: 4 * TEXT_CAP])[:TEXT_CAP],
        score=run.scores.get(metric),
        attributes={key[:100]: redact(value[:200]) for key, value in list(run.attributes.items())[:40]},
        cause=cause,
    )


def _health(laid_out: Sample, failed: Flags, judged: Flags) -> list[ValueHealth]:
    """Count runs and failures by value, for attributes of few values."""
    found: list[ValueHealth] = []
    for name, column in laid_out.columns.items():
        places: dict[str, list[int]] = {}
        for place, value in enumerate(column):
            if value is not None and judged[place]:
                places.setdefault(value, []).append(place)
        if len(places) > HEALTH_VALUES:
            continue
        for value, rows in sorted(places.items()):
            chosen = np.array(rows)
            now = laid_out.bad[chosen]
            bad = failed[chosen]
            found.append(
                ValueHealth(
                    attribute=name,
                    value=value,
                    bad_runs=int(now.sum()),
                    bad_failures=int((now & bad).sum()),
                    baseline_runs=int((~now).sum()),
                    baseline_failures=int((~now & bad).sum()),
                )
            )
    return found


def _moment(seconds: Any) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(float(seconds), UTC)


PATIENCE_SWEEPS = 6
"""So many sweep periods after the alert opened, research says what it has."""

MIN_PATIENCE = timedelta(seconds=15)


def patience(sweep_period: timedelta) -> timedelta:
    """Return how long to wait for evidence to grow."""
    return max(PATIENCE_SWEEPS * sweep_period, MIN_PATIENCE)
