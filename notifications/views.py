"""What a mail is rendered from: frozen facts, no database rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo

from core.states import Severity


@dataclass(frozen=True)
class Rendered:
    """A mail ready to be queued."""

    subject: str
    text: str
    html: str
    headers: Mapping[str, str] = field(default_factory=dict)
    chart: bytes | None = None
    """A PNG that the HTML refers to as `cid:<content_id(chart)>`."""


@dataclass(frozen=True)
class Site:
    """Where the reader is: the app, its zone, and where links lead."""

    app: str
    public_url: str
    """Without a slash at its end; every link of a mail starts with it."""
    zone: tzinfo = UTC
    demo: bool = False

    def link(self, path: str) -> str:
        """Return a link to a page of ours."""
        return f"{self.public_url}/{path.lstrip('/')}"

    def ours(self, url: str) -> bool:
        """Tell whether a URL leads to us: no other becomes a link."""
        return url.startswith(self.public_url + "/")


@dataclass(frozen=True)
class AlertView:
    """One alert as a mail tells it."""

    id: int
    kind: str
    severity: Severity
    state: str
    metric: str
    title: str
    observed: float | None
    expected: float | None
    low: float | None
    high: float | None
    reasons: tuple[str, ...]
    since: datetime
    """Start of the first bad window."""
    until: datetime
    """End of the latest bad window."""
    opened_at: datetime
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    trace_urls: tuple[str, ...] = ()
    flapping: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.resolved_at is None


@dataclass(frozen=True)
class ProposalView:
    """One proposal as a mail tells it."""

    id: int
    title: str
    status: str
    root_cause: str
    change: str
    """The change in words: `provider.timeout_ms: 250 → 400`."""
    metric: str
    predicted_pct: float
    predicted_low: float
    predicted_high: float
    effort_hours: float
    impact: str
    risk: str = ""
    alert_id: int | None = None
    alert_title: str | None = None
    at: datetime | None = None
    ruled_out: tuple[str, ...] = ()
    """What was thought of and rejected, with the reason; the first few."""
    bad_runs: tuple[str, ...] = ()
    """Addresses of failing runs; the first few."""
    checked: str = ""
    """What validation said, in a few words: `100 cases, no regression`."""
    decision: str = ""
    """Why it was decided as it was: by a person, a policy or validation."""


@dataclass(frozen=True)
class ValidationView:
    """The validation behind a proposal's mail."""

    id: int
    verdict: str
    cases: int
    regressions: int
    reasons: tuple[str, ...]
    regressed: tuple[tuple[str, str], ...] = ()
    """(case, metric) pairs, the first few."""


@dataclass(frozen=True)
class Margin:
    """How far one guarded metric is from the limit at which the guard takes the change back."""

    metric: str
    drop: float
    """Relative drop of the candidate against the baseline, a fraction; negative where it is better."""
    limit: float


@dataclass(frozen=True)
class RolloutView:
    """One rollout as a mail tells it."""

    id: int
    proposal_id: int
    title: str
    state: str
    percent: int
    holdback_percent: int
    started_at: datetime
    stage_started_at: datetime
    finished_at: datetime | None = None
    reason: str | None = None
    change: str = ""
    last_step: str = ""
    margins: tuple[Margin, ...] = ()
    """What the guard sees, the closest to its limit first."""


@dataclass(frozen=True)
class ImpactView:
    """What a deployed change was worth."""

    proposal_id: int
    title: str
    metric: str
    predicted_pct: float
    measured_pct: float | None
    low: float | None
    high: float | None
    significant: bool
    roi: float | None
    method: str


@dataclass(frozen=True)
class MetricView:
    """One line of the digest's table. None where there is nothing to compare with."""

    metric: str
    value: float | None
    vs_yesterday: float | None
    vs_baseline: float | None
    low: float | None
    high: float | None
    """The 95 % interval of the difference from the baseline."""

    @property
    def known_change(self) -> bool:
        """Whether the interval against the baseline excludes zero."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class QualityView:
    """The score of the day, for the subject and the verdict."""

    value: float
    delta: float | None
    within_noise: bool | None


@dataclass(frozen=True)
class ChecksView:
    """How many of the due checks ran."""

    ran: int
    due: int

    @property
    def complete(self) -> bool:
        """Whether so few are missing that nothing can have gone unseen: a single sweep is made up for by the next."""
        return self.ran >= 0.97 * self.due


@dataclass(frozen=True)
class ChartView:
    """One metric over time, beside what is usual."""

    metric: str
    points: tuple[tuple[datetime, float | None], ...]
    """Start of the step and its value; None where there was nothing to measure."""
    step: timedelta
    zone: tzinfo
    low: float | None = None
    high: float | None = None
    """Where nine of ten hours of the baseline lie."""
    bad: tuple[tuple[datetime, datetime], ...] = ()
    """When an alert of this metric was on."""


@dataclass(frozen=True)
class SpendView:
    """What language models cost us in the day, in tokens."""

    tokens: int
    cap: int
    pieces: int
    """Investigations that asked a model."""


@dataclass(frozen=True)
class EventView:
    """A mail about one event: an alert, or a proposal with what belongs to it."""

    site: Site
    now: datetime
    alert: AlertView | None = None
    proposal: ProposalView | None = None
    validation: ValidationView | None = None
    rollout: RolloutView | None = None
    impact: ImpactView | None = None
    before: float | None = None
    """The alert's value as it was told last."""
    others: int = 0
    """Alerts that were told together with this one."""
    next_up: str | None = None
    """What the system does next, in words."""
    case: str | None = None
    """The command that makes a golden case of a run of what is over."""


@dataclass(frozen=True)
class StormView:
    """Critical alerts that came together, or more of them than anybody reads one by one."""

    site: Site
    start: datetime
    end: datetime
    alerts: tuple[AlertView, ...]
    storm: bool = True
    """Whether those to come are folded in as well."""


@dataclass(frozen=True)
class SilenceView:
    """Monitoring itself fell silent."""

    site: Site
    now: datetime
    last_sweep: datetime | None
    """None where there never was one."""
    limit: timedelta
    """How long it may be silent."""


@dataclass(frozen=True)
class HourlyView:
    """What happened to one app in one slot of the roll-up."""

    site: Site
    start: datetime
    end: datetime
    alerts: tuple[AlertView, ...] = ()
    proposals: tuple[ProposalView, ...] = ()
    rollouts: tuple[RolloutView, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to say."""
        return not (self.alerts or self.proposals or self.rollouts)


@dataclass(frozen=True)
class DigestView:
    """One app's day."""

    site: Site
    day: date
    start: datetime
    end: datetime
    checks: ChecksView
    runs: int
    quality: QualityView | None = None
    decisions: tuple[ProposalView, ...] = ()
    rollouts: tuple[RolloutView, ...] = ()
    rolled_back: tuple[RolloutView, ...] = ()
    blocked: tuple[ProposalView, ...] = ()
    new_alerts: tuple[AlertView, ...] = ()
    continuing_alerts: tuple[AlertView, ...] = ()
    """Alerts of the day, the first so many; how many there are in all is counted apart."""
    beyond: int = 0
    """Open alerts that are in neither list."""
    critical_beyond: int = 0
    """How many of those are critical."""
    metrics: tuple[MetricView, ...] = ()
    impacts: tuple[ImpactView, ...] = ()
    chart: ChartView | None = None
    spend: SpendView | None = None
    """None where no model was asked."""
    history: timedelta = timedelta(days=7)
    """How long the baseline is."""

    @property
    def alerts(self) -> tuple[AlertView, ...]:
        """All of the day, new ones first."""
        return self.new_alerts + self.continuing_alerts

    @property
    def open_alerts(self) -> tuple[AlertView, ...]:
        """Those that go on, the worst first."""
        return tuple(sorted((a for a in self.alerts if a.is_open), key=lambda a: -a.severity.rank))

    @property
    def critical(self) -> int:
        """How many critical alerts are open."""
        return sum(alert.severity is Severity.CRITICAL for alert in self.open_alerts) + self.critical_beyond

    @property
    def quiet(self) -> bool:
        """Whether there is nothing that anybody need know but that all ran."""
        return self.checks.complete and not (
            self.alerts or self.decisions or self.rollouts or self.rolled_back or self.blocked
        )
