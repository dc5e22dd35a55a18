"""A proposal as an incident review in plain text, with the next command to type."""

from __future__ import annotations

from collections.abc import Iterator

from agents.research.review import clean, diff, headline, sections
from cli.hints import command
from core.states import ProposalStatus
from db.queries.proposals import ProposalDetail

__all__ = ["clean", "diff", "next_command", "review"]


def review(detail: ProposalDetail) -> str:
    """Return the whole review."""
    return "\n".join(_lines(detail)) + "\n"


def next_command(detail: ProposalDetail) -> str | None:
    """Return what to type next, or None where nothing is to do."""
    status = detail.status
    if status is ProposalStatus.AWAITING_APPROVAL:
        return command("proposals", "approve", str(detail.id))
    if status in (ProposalStatus.ROLLING_OUT, ProposalStatus.APPROVED):
        return command("rollouts", "status", "--watch")
    if status is ProposalStatus.IMPLEMENTED:
        return command("impact", "list")
    if status in (ProposalStatus.BLOCKED, ProposalStatus.INCONCLUSIVE, ProposalStatus.VALIDATING):
        if detail.validations:
            return command("validate", "show", str(detail.validations[-1].id))
        return command("validate", "list")
    if status is ProposalStatus.PROPOSED and detail.change["type"] != "code":
        return command("validate", "run", "--proposal", str(detail.id), "--watch")
    return None


def _lines(detail: ProposalDetail) -> Iterator[str]:
    yield from map(clean, headline(detail))
    for section in sections(detail):
        yield from ("", section.heading)
        yield from ("    " + clean(line.text) if line.deeper else "  " + clean(line.text) for line in section.lines)
    following = next_command(detail)
    if following:
        yield from ("", f"Next: {following}")
