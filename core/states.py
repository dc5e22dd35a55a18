"""Every state column of the system with its one table of allowed transitions."""

from __future__ import annotations

from enum import StrEnum

from core.transitions import Transitions


class Severity(StrEnum):
    """How urgent an alert is: critical is mailed at once, high in the hourly roll-up, the rest in the digest."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for low up to 3 for critical."""
        return list(reversed(Severity)).index(self)


class AlertKind(StrEnum):
    """What an alert says went wrong."""

    ERROR_SPIKE = "error_spike"
    QUALITY_DEGRADATION = "quality_degradation"
    SLA_VIOLATION = "sla_violation"
    ANOMALY = "anomaly"
    NO_DATA = "no_data"


class JobState(StrEnum):
    """Life of a row in `jobs`."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


JOB = Transitions(
    "job",
    {
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.DEAD, JobState.CANCELLED}),
        # running → running: a lease ran out and another worker took over, fenced by the attempt's number.
        JobState.RUNNING: frozenset(
            {JobState.RUNNING, JobState.DONE, JobState.QUEUED, JobState.DEAD, JobState.CANCELLED}
        ),
        JobState.DONE: frozenset(),
        JobState.DEAD: frozenset({JobState.QUEUED}),
        JobState.CANCELLED: frozenset({JobState.QUEUED}),
    },
)


class AlertState(StrEnum):
    """Life of an alert."""

    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"
    RESOLVED = "resolved"


ALERT = Transitions(
    "alert",
    {
        AlertState.PENDING: frozenset({AlertState.FIRING, AlertState.RESOLVED}),
        AlertState.FIRING: frozenset({AlertState.RECOVERING, AlertState.RESOLVED}),
        AlertState.RECOVERING: frozenset({AlertState.FIRING, AlertState.RESOLVED}),
        AlertState.RESOLVED: frozenset(),
    },
)
OPEN_ALERTS = frozenset(ALERT.table) - ALERT.final


class ProposalStatus(StrEnum):
    """Life of an improvement proposal."""

    PROPOSED = "proposed"
    VALIDATING = "validating"
    BLOCKED = "blocked"  # validation found a regression
    INCONCLUSIVE = "inconclusive"  # validation could not tell, or could not run
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    REJECTED = "rejected"
    ROLLING_OUT = "rolling_out"
    IMPLEMENTED = "implemented"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"  # another proposal made it pointless


PROPOSAL = Transitions(
    "proposal",
    {
        ProposalStatus.PROPOSED: frozenset(
            {ProposalStatus.VALIDATING, ProposalStatus.REJECTED, ProposalStatus.SUPERSEDED}
        ),
        ProposalStatus.VALIDATING: frozenset(
            {
                ProposalStatus.BLOCKED,
                ProposalStatus.INCONCLUSIVE,
                ProposalStatus.AWAITING_APPROVAL,
                ProposalStatus.APPROVED,
                ProposalStatus.REJECTED,
            }
        ),
        # a person may ask for another, larger validation
        ProposalStatus.BLOCKED: frozenset({ProposalStatus.VALIDATING, ProposalStatus.REJECTED}),
        ProposalStatus.INCONCLUSIVE: frozenset(
            {ProposalStatus.VALIDATING, ProposalStatus.REJECTED, ProposalStatus.SUPERSEDED}
        ),
        ProposalStatus.AWAITING_APPROVAL: frozenset(
            {ProposalStatus.APPROVED, ProposalStatus.REJECTED, ProposalStatus.SUPERSEDED}
        ),
        ProposalStatus.APPROVED: frozenset(
            {ProposalStatus.ROLLING_OUT, ProposalStatus.REJECTED, ProposalStatus.SUPERSEDED}
        ),
        ProposalStatus.ROLLING_OUT: frozenset({ProposalStatus.IMPLEMENTED, ProposalStatus.ROLLED_BACK}),
        ProposalStatus.IMPLEMENTED: frozenset({ProposalStatus.ROLLED_BACK}),
        ProposalStatus.REJECTED: frozenset(),
        ProposalStatus.ROLLED_BACK: frozenset(),
        ProposalStatus.SUPERSEDED: frozenset(),
    },
)


class ValidationState(StrEnum):
    """Life of a validation run."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    STOPPED = "stopped"  # its budget is spent: no verdict; another run may take over what it has


VALIDATION = Transitions(
    "validation",
    {
        ValidationState.QUEUED: frozenset({ValidationState.RUNNING, ValidationState.CANCELLED}),
        ValidationState.RUNNING: frozenset(
            {ValidationState.FINISHED, ValidationState.CANCELLED, ValidationState.STOPPED}
        ),
        ValidationState.FINISHED: frozenset(),
        ValidationState.CANCELLED: frozenset(),
        ValidationState.STOPPED: frozenset(),
    },
)


class Verdict(StrEnum):
    """What a validation found. An outage is `error`, never `fail`; a missing case is never `pass`."""

    PASS = "pass"  # noqa: S105  # a verdict, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class CaseOutcome(StrEnum):
    """What became of one golden case in one arm."""

    OK = "ok"  # the target answered; the scores say how well
    FAILED = "failed"  # the target itself failed: an exception, a time-out, a limit
    JUDGE_ERROR = "judge_error"  # the target answered, the judging failed
    SKIPPED = "skipped"
    NOT_RUN = "not_run"


class RolloutState(StrEnum):
    """Life of a rollout. `percent` says how far it is."""

    RUNNING = "running"
    PAUSED = "paused"
    HOLDBACK = "holdback"  # at 100 % but for the hold-back, until the impact is measured
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"


ROLLOUT = Transitions(
    "rollout",
    {
        RolloutState.RUNNING: frozenset({RolloutState.PAUSED, RolloutState.HOLDBACK, RolloutState.ROLLED_BACK}),
        RolloutState.PAUSED: frozenset({RolloutState.RUNNING, RolloutState.HOLDBACK, RolloutState.ROLLED_BACK}),
        RolloutState.HOLDBACK: frozenset({RolloutState.PAUSED, RolloutState.COMPLETED, RolloutState.ROLLED_BACK}),
        RolloutState.COMPLETED: frozenset({RolloutState.ROLLED_BACK}),
        RolloutState.ROLLED_BACK: frozenset(),
    },
)
LIVE_ROLLOUTS = frozenset({RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.HOLDBACK})


class EmailState(StrEnum):
    """Life of one mail to one recipient."""

    QUEUED = "queued"
    SENDING = "sending"  # recorded before SMTP speaks: a crash from here on is `unknown`
    SENT = "sent"
    FAILED = "failed"  # refused for good
    UNKNOWN = "unknown"  # the sender died between SENDING and its commit: a person decides


EMAIL = Transitions(
    "mail",
    {
        EmailState.QUEUED: frozenset({EmailState.SENDING, EmailState.FAILED}),
        EmailState.SENDING: frozenset({EmailState.SENT, EmailState.FAILED, EmailState.QUEUED, EmailState.UNKNOWN}),
        EmailState.SENT: frozenset(),
        EmailState.FAILED: frozenset({EmailState.QUEUED}),
        EmailState.UNKNOWN: frozenset({EmailState.QUEUED, EmailState.SENT}),
    },
)


class UsageOutcome(StrEnum):
    """What became of the calls to a model that were paid for."""

    RESERVED = "reserved"  # under way; a crash leaves it so, and its caps stay spent
    ANSWERED = "answered"
    FAILED = "failed"


USAGE = Transitions(
    "model usage",
    {
        UsageOutcome.RESERVED: frozenset({UsageOutcome.ANSWERED, UsageOutcome.FAILED}),
        UsageOutcome.ANSWERED: frozenset(),
        UsageOutcome.FAILED: frozenset(),
    },
)


class RunStatus(StrEnum):
    """What became of a traced run. Pending and abandoned are reported apart from errors.

    It has no table of transitions: the sender says it, in whatever order the messages arrive, and the merge reads it
    off the end and the error that are known so far. An abandoned run that ends after all has ended.
    """

    PENDING = "pending"
    SUCCESS = "success"
    ERROR = "error"
    ABANDONED = "abandoned"


class Scope(StrEnum):
    """What a token may do. From viewer up, each includes the one before it; ingest stands alone."""

    INGEST = "ingest"
    VIEWER = "viewer"
    REVIEWER = "reviewer"
    ADMIN = "admin"

    def allows(self, needed: Scope) -> bool:
        """Tell whether a bearer of this scope may do what asks for `needed`. An admin may ingest too."""
        if needed is Scope.INGEST:
            return self in (Scope.INGEST, Scope.ADMIN)
        ladder = [Scope.VIEWER, Scope.REVIEWER, Scope.ADMIN]
        return self in ladder and ladder.index(self) >= ladder.index(needed)
