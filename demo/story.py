"""What there is to tell: rows of alerts, proposals, validations, rollouts, impact and mail, turned into lines."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.states import AlertState, EmailState, ProposalStatus, ValidationState
from db.models import (
    AlertEvent,
    AuditEntry,
    Email,
    ImprovementImpact,
    ImprovementProposal,
    MonitoringAlert,
    Rollout,
    RolloutEvent,
    ValidationResult,
)
from demo.faults import ACTION, FAULTS

CAP = 240


@dataclass(frozen=True)
class Line:
    """One thing that happened."""

    at: datetime
    icon: str
    word: str
    style: str
    text: str
    todo: str | None = None
    """The command that somebody should type now."""


class Story:
    """Remembers what was told. The first look is silent about what was there before, except that it is known.

    Args:
        command: spells a command line.
    """

    def __init__(self, command: Callable[..., str]) -> None:
        self.command = command
        self.told: set[Hashable] = set()
        self.primed = False

    def news(self, session: Session) -> list[Line]:
        """Return what happened since the last look, oldest first."""
        lines: list[Line] = []
        for source in (
            self._faults,
            self._alerts,
            self._validations,  # before what follows from them: of one moment, the order here is the order told
            self._proposals,
            self._rollouts,
            self._impacts,
            self._mails,
        ):
            for key, line in source(session):
                if key not in self.told:
                    self.told.add(key)
                    lines.append(line)
        if not self.primed:
            self.primed = True
            return []
        return sorted(lines, key=lambda line: line.at)

    def _faults(self, session: Session) -> Iterator[tuple[Hashable, Line]]:
        for entry in session.scalars(select(AuditEntry).where(AuditEntry.action == ACTION)):
            number = entry.detail.get("number")
            text = f"{number} of {len(FAULTS)}, injected: {clean(entry.detail.get('title'))}"
            yield ("fault", entry.id), Line(entry.at, "⚡", "fault", "bold magenta", text)

    def _alerts(self, session: Session) -> Iterator[tuple[Hashable, Line]]:
        rows = session.execute(
            select(AlertEvent, MonitoringAlert)
            .join(MonitoringAlert, MonitoringAlert.id == AlertEvent.alert_id)
            .where(AlertEvent.kind.in_([AlertState.FIRING.value, AlertState.RESOLVED.value]))
        )
        for event, alert in rows:
            key = ("alert", event.id)
            if event.kind == AlertState.RESOLVED.value:
                yield (
                    key,
                    Line(event.at, "✓", "resolved", "green", f"alert {alert.id}: {alert.metric} is back to normal"),
                )
                continue
            seen = f"{figure(alert.observed)}, expected {figure(alert.expected)}"
            text = f"{alert.id} {alert.severity.value}: {alert.kind.value} of {alert.metric}: {seen}"
            yield key, Line(event.at, "●", "alert", "bold red", text)

    def _proposals(self, session: Session) -> Iterator[tuple[Hashable, Line]]:
        for row in session.scalars(select(ImprovementProposal).order_by(ImprovementProposal.id)):
            if row.alert_id is not None and row.rank == 1:
                yield ("cause", row.alert_id), Line(row.created_at, "◎", "cause", "bold yellow", cause_of(row))
            yield ("proposed", row.id), self._proposed(row)
            if row.screen is not None and row.screen.get("skipped") is None:
                yield ("screened", row.id), self._screened(row, row.screen)
            if row.reviewed_by and row.approved_hash:
                text = f"proposal {row.id} by {clean(row.reviewed_by)}"
                yield (
                    ("approved", row.id),
                    Line(row.reviewed_at or row.updated_at, "✓", "approved", "green", text),
                )
            # The state's own moment is not in the row; it is now, give or take a second.
            line = self._outcome(row, utc_now())
            if line is not None:
                yield ("outcome", row.id, row.status), line

    def _proposed(self, row: ImprovementProposal) -> Line:
        predicted = f"{row.predicted_pct:+.0f} % [{row.predicted_low:+.0f}, {row.predicted_high:+.0f}]"
        text = f"{row.id}: {clean(row.title)} ({row.impact} impact, predicted {predicted})"
        return Line(row.created_at, "◇", "proposal", "cyan", text)

    def _screened(self, row: ImprovementProposal, screen: dict[str, Any]) -> Line:
        text = f"proposal {row.id}: {screen['cases']} cases, {screen['better']} better, {screen['worse']} worse"
        return Line(datetime.fromisoformat(screen["at"]), "◌", "screened", "cyan", text)

    def _outcome(self, row: ImprovementProposal, at: datetime) -> Line | None:
        match row.status:
            case ProposalStatus.AWAITING_APPROVAL:
                todo = self.command("proposals", "approve", str(row.id))
                return Line(
                    at, "?", "your turn", "bold yellow", f"proposal {row.id} passed and waits for a person", todo
                )
            case ProposalStatus.BLOCKED:
                text = f"proposal {row.id}: validation found that it makes something worse"
                return Line(at, "✗", "blocked", "bold red", text, self.command("proposals", "show", str(row.id)))
            case ProposalStatus.INCONCLUSIVE:
                return Line(at, "~", "undecided", "yellow", f"proposal {row.id}: validation could not tell")
            case ProposalStatus.IMPLEMENTED:
                return Line(at, "★", "implemented", "bold green", f"proposal {row.id}: {clean(row.title)}")
            case ProposalStatus.REJECTED:
                return Line(at, "✗", "rejected", "yellow", f"proposal {row.id}: {clean(row.review_reason)}")
            case _:
                return None  # what else there is has a line of its own in another table

    def _validations(self, session: Session) -> Iterator[tuple[Hashable, Line]]:
        for row in session.scalars(select(ValidationResult)):
            what = f"proposal {row.proposal_id}" if row.proposal_id else f"run {row.id}, asked for by hand"
            if row.started_at is not None:
                text = f"{what}: {row.total} answers of baseline and candidate"
                yield ("validating", row.id), Line(row.started_at, "…", "validating", "dim", text)
            if row.state is ValidationState.FINISHED and row.verdict is not None:
                worse = f", {row.regressions} cases got worse" if row.regressions else ""
                style = "green" if row.verdict.value == "pass" else "yellow"
                text = f"{what}: {row.verdict.value}{worse}{reason_of(row.reasons)}"
                yield ("verdict", row.id), Line(row.finished_at or row.created_at, "=", "verdict", style, text)

    def _rollouts(self, session: Session) -> Iterator[tuple[Hashable, Line]]:
        rows = session.execute(select(RolloutEvent, Rollout).join(Rollout, Rollout.id == RolloutEvent.rollout_id))
        for event, rollout in rows:
            key = ("rollout", event.id)
            change = f"{rollout.change.get('key')} → {clean(rollout.change.get('to'))}"
            if "roll" in event.kind and "back" in event.kind:
                why = clean(rollout.reason) or "the guard saw the candidate do worse"
                yield key, Line(event.at, "↩", "rolled back", "bold red", f"{change}: {why}")
            elif event.to_percent != event.from_percent:
                text = f"{change}: {event.from_percent} → {event.to_percent} % of users"
                yield key, Line(event.at, "▲", "rollout", "blue", text)
            else:
                yield key, Line(event.at, "▲", "rollout", "blue", f"{change}: {event.kind} at {event.to_percent} %")

    def _impacts(self, session: Session) -> Iterator[tuple[Hashable, Line]]:
        for row in session.scalars(select(ImprovementImpact)):
            measured = "not measurable"
            if row.measured_pct is not None:
                measured = f"{row.measured_pct:+.0f} %"
                if row.measured_low is not None and row.measured_high is not None:
                    measured += f" [{row.measured_low:+.0f}, {row.measured_high:+.0f}]"
            text = f"proposal {row.proposal_id}: {row.metric} {measured}, predicted {row.predicted_pct:+.0f} %"
            yield ("impact", row.id), Line(row.created_at, "∆", "impact", "bold green", text)

    def _mails(self, session: Session) -> Iterator[tuple[Hashable, Line]]:
        for row in session.scalars(select(Email).where(Email.state == EmailState.SENT)):
            text = f"{row.kind} to {clean(row.recipient)}: {clean(row.subject)}"
            yield ("mail", row.id), Line(row.sent_at or row.created_at, "✉", "mail", "dim", text)

    def ending(self, session: Session) -> list[tuple[str, str]]:
        """Return what came of it once all three stories are told; empty before."""
        faults = session.scalar(select(func.count()).where(AuditEntry.action == ACTION)) or 0
        by_status: dict[ProposalStatus, list[ImprovementProposal]] = {}
        for row in session.scalars(select(ImprovementProposal).order_by(ImprovementProposal.id)):
            by_status.setdefault(row.status, []).append(row)
        needed = (ProposalStatus.IMPLEMENTED, ProposalStatus.BLOCKED, ProposalStatus.ROLLED_BACK)
        if faults < len(FAULTS) or any(status not in by_status for status in needed):
            return []
        mails = session.execute(
            select(Email.kind, func.count()).where(Email.state == EmailState.SENT).group_by(Email.kind)
        ).all()
        facts = [
            (status.value.replace("_", " "), "; ".join(f"{row.id} {clean(row.title)}" for row in by_status[status]))
            for status in needed
        ]
        facts.append(("mail", ", ".join(f"{count} {kind}" for kind, count in mails) or "none yet"))
        facts.append(("look", self.command("status")))
        facts.append(("", self.command("impact", "list")))
        facts.append(("", self.command("rollouts", "list")))
        return facts


def cause_of(row: ImprovementProposal) -> str:
    """Say where the excess is."""
    conditions = row.cause.get("conditions") or {}
    where = " and ".join(f"{clean(name)} = {clean(value)}" for name, value in conditions.items()) or "everywhere"
    explained = row.cause.get("explained")
    share = f", which explains {explained:.0%} of the excess" if isinstance(explained, int | float) else ""
    return f"of alert {row.alert_id}: {where}{share}"


def reason_of(reasons: list[str]) -> str:
    """Return the first reason, if there is one."""
    return f": {clean(reasons[0])}" if reasons else ""


def figure(value: float | None) -> str:
    """Return a number for a person."""
    return "nothing" if value is None else f"{value:.3g}"


def clean(value: Any) -> str:
    """Return text from a row without control characters and capped: some of it came from traces."""
    text = "".join(
        character if character.isprintable() else " " for character in str(value if value is not None else "")
    )
    return text if len(text) <= CAP else text[: CAP - 1] + "…"
