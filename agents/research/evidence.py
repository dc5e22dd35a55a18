"""The typed packet of evidence: what research knows, and all that a model may speak about."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.change import Change, ConfigValue

FIRST = "cause-1"
"""Id of the cause that explains most; what is said without a cause is said of it."""

TEXT_CAP = 500
"""Characters of any text that came from a trace."""


class Record(BaseModel):
    """Base of all records: immutable, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CauseRecord(Record):
    """A localised cause with its numbers."""

    id: str
    conditions: dict[str, str]
    """Attribute values; empty means the degradation is global."""
    excess: float
    explained: float
    precision: float
    p_value: float
    runs: int
    failures: int
    expected: float
    aliases: list[dict[str, str]] = Field(default_factory=list)
    onset: datetime | None = None
    onset_low: datetime | None = None
    onset_high: datetime | None = None
    rate_since: float | None = None
    """Share of these runs that failed from the onset on, 0–1: `precision` counts from the window's start."""

    @property
    def began(self) -> tuple[datetime, datetime, datetime] | None:
        """The onset with its interval as (middle, low, high), or None where it is not known."""
        if self.onset is None or self.onset_low is None or self.onset_high is None:
            return None
        return self.onset, self.onset_low, self.onset_high

    @property
    def words(self) -> str:
        """`region = emea and model = sonic-2`, or `all runs`."""
        return " and ".join(f"{key} = {value}" for key, value in self.conditions.items()) or "all runs"


class ConfigChange(Record):
    """Somebody changed the app's configuration."""

    id: str
    at: datetime
    actor: str
    key: str
    before: ConfigValue | None
    after: ConfigValue | None


class NewValue(Record):
    """A value that the baseline never saw: something was deployed, or somebody new came."""

    id: str
    attribute: str
    value: str = Field(max_length=TEXT_CAP)
    first_seen: datetime
    runs: int


class PastIncident(Record):
    """What was done about something like it before, and what came of that."""

    id: str
    proposal_id: int
    at: datetime
    title: str
    same_cause: bool
    """Else the same metric of the same app."""
    cause: str = ""
    """Id of the cause that it is the same as."""
    key: str
    """Configuration key that was changed; empty for a recommendation."""
    outcome: str
    """`implemented`, `blocked`, `rolled_back` or `rejected`."""
    measured_pct: float | None


class ErrorPattern(Record):
    """A group of errors among the failing runs."""

    id: str
    fingerprint: str
    kind: str
    """Exception type; empty where none is recognisable."""
    template: str = Field(max_length=TEXT_CAP)
    frames: list[str] = Field(default_factory=list)
    bad: int
    """Failing runs of the bad window that show it."""
    baseline: int
    """Runs of the baseline that show it."""
    share: float
    """Of the cause's failing runs in the bad window, 0–1."""
    cause: str = FIRST
    """Id of the cause whose failing runs these are."""


class Exemplar(Record):
    """One run to look at."""

    id: str
    run_id: str
    url: str | None
    kind: Literal["bad", "good"]
    """`good` is a run outside the cause or before it that is like the bad one in everything else."""
    start_time: datetime
    latency_ms: float | None
    error: str | None = Field(default=None, max_length=TEXT_CAP)
    score: float | None = None
    attributes: dict[str, str] = Field(default_factory=dict)
    cause: str = FIRST
    """Id of the cause that it is an example of."""


class ValueHealth(Record):
    """How one value of an attribute fared."""

    attribute: str
    value: str
    bad_runs: int
    bad_failures: int
    baseline_runs: int
    baseline_failures: int

    @property
    def bad_rate(self) -> float:
        """Failure rate in the bad window; 0 where there are no runs."""
        return self.bad_failures / self.bad_runs if self.bad_runs else 0.0

    @property
    def baseline_rate(self) -> float:
        """Failure rate in the baseline; 0 where there are no runs."""
        return self.baseline_failures / self.baseline_runs if self.baseline_runs else 0.0


class Evidence(Record):
    """Everything an investigation found. Its ids are the only ones a model may cite."""

    alert_id: int | None
    """None where somebody asked without an alert."""
    app: str
    metric: str
    """The alert's metric."""
    success_metric: str
    bad_from: datetime
    bad_until: datetime
    baseline_from: datetime | None
    baseline_until: datetime | None
    bad_runs: int
    bad_failures: int
    baseline_runs: int
    baseline_failures: int
    causes: list[CauseRecord] = Field(default_factory=list)
    changes: list[ConfigChange] = Field(default_factory=list)
    new_values: list[NewValue] = Field(default_factory=list)
    incidents: list[PastIncident] = Field(default_factory=list)
    errors: list[ErrorPattern] = Field(default_factory=list)
    exemplars: list[Exemplar] = Field(default_factory=list)
    health: list[ValueHealth] = Field(default_factory=list)

    @property
    def ids(self) -> frozenset[str]:
        """Every evidence id that may be cited."""
        groups = (self.causes, self.changes, self.new_values, self.incidents, self.errors, self.exemplars)
        return frozenset(item.id for group in groups for item in group)

    def about(self, cause: str) -> Evidence:
        """Return the packet with the errors, runs and incidents of one cause. All causes stay in it."""
        return self.model_copy(
            update={
                "errors": [entry for entry in self.errors if entry.cause == cause],
                "exemplars": [entry for entry in self.exemplars if entry.cause == cause],
                "incidents": [entry for entry in self.incidents if entry.cause in ("", cause)],
            }
        )


class Hypothesis(Record):
    """One idea of what would help: proposed, or rejected with the reason."""

    kind: Literal["revert", "raise_bound", "route_around", "rewrite", "recommend"]
    title: str
    change: Change | None
    cites: list[str] = Field(default_factory=list)
    """Ids of the evidence it stands on."""
    rejected: str | None = None
    """Why it is not proposed; None where it is."""
    risk: str = ""
    impact: Literal["low", "high"] = "high"
    cause: str = FIRST
    """Id of the cause that it is for."""
