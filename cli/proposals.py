"""`metamon proposals`: what research proposes, and a person's decision about it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.actor import actor
from cli.hints import command
from cli.output import JsonFlag, err, fail, print_json, print_table
from core.states import ProposalStatus

app = typer.Typer(help="What research proposes: list, show, diff, approve, reject.", no_args_is_help=True)

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask. Needed where there is no terminal.")]


@app.command("list")
def list_(
    app_name: Annotated[str | None, typer.Option("--app", help="Only this app's.")] = None,
    status: Annotated[ProposalStatus | None, typer.Option(help="Only proposals in this state.")] = None,
    alert: Annotated[int | None, typer.Option(help="Only this alert's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List proposals, newest first.

    Example: metamon proposals list --status awaiting_approval
    """
    from db.queries.proposals import list_proposals
    from db.session import session_factory

    with session_factory()() as session:
        records = list_proposals(session, app=app_name, status=status, alert_id=alert, limit=limit)
    if as_json:
        print_json(records)
        return
    print_table(
        ["ID", "ALERT", "APP", "STATUS", "TITLE", "CAUSE", "PREDICTED", "EFFORT", "IMPACT"],
        [
            [
                r.id,
                r.alert_id,
                r.app,
                r.status.value.replace("_", " "),
                r.title,
                ", ".join(f"{key}={value}" for key, value in r.cause.get("conditions", {}).items()) or "all runs",
                f"{r.predicted_pct:+.1f} %",
                f"{r.effort_hours:g} h",
                r.impact,
            ]
            for r in records
        ],
        empty="No proposals yet. They come of alerts: `metamon alerts list`.",
    )


@app.command()
def show(proposal_id: int, as_json: JsonFlag = False) -> None:
    """Show a proposal as an incident review.

    Example: metamon proposals show 3
    """
    from cli.review_text import review
    from db.queries.proposals import show_proposal
    from db.session import session_factory

    with session_factory()() as session:
        detail = show_proposal(session, proposal_id)
    if as_json:
        print_json(detail)
    else:
        print(review(detail), end="")


@app.command()
def diff(proposal_id: int, as_json: JsonFlag = False) -> None:
    """Show what a proposal would change.

    Example: metamon proposals diff 3
    """
    from cli.review_text import diff as as_diff
    from db.queries.proposals import show_proposal
    from db.session import session_factory

    with session_factory()() as session:
        detail = show_proposal(session, proposal_id)
    if as_json:
        print_json({"id": detail.id, "app": detail.app, "change": detail.change, "hash": detail.change_hash})
    else:
        print(as_diff(detail))


@app.command()
def approve(
    proposal_id: int,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "",
    yes: Yes = False,
) -> None:
    """Approve a proposal: its rollout starts at 10 %.

    Example: metamon proposals approve 3 --reason "looks right" --yes
    """
    from agents.review import approve as decide
    from cli.review_text import diff as as_diff
    from core.clock import utc_now
    from db.queries.proposals import show_proposal
    from db.session import session_factory

    sessions = session_factory()
    with sessions() as session:
        detail = show_proposal(session, proposal_id)
    err.print(as_diff(detail), markup=False, highlight=False)
    _ask(f"Roll proposal {proposal_id} out to 10 % of {detail.app}'s users?", yes)
    with sessions.begin() as session:
        decide(session, proposal_id, by=actor(), reason=reason, now=utc_now())
    err.print(f"Approved. Watch it with: {command('rollouts', 'status', '--watch')}", markup=False)


@app.command()
def reject(
    proposal_id: int,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")],
    yes: Yes = False,
) -> None:
    """Reject a proposal for good.

    Example: metamon proposals reject 3 --reason "atlas-1 has no capacity" --yes
    """
    from agents.review import reject as decide
    from core.clock import utc_now
    from db.queries.proposals import show_proposal
    from db.session import session_factory

    sessions = session_factory()
    with sessions() as session:
        detail = show_proposal(session, proposal_id)
    _ask(f"Reject proposal {proposal_id} ({detail.title}) for good?", yes)
    with sessions.begin() as session:
        decide(session, proposal_id, by=actor(), reason=reason, now=utc_now())
    err.print("Rejected.")


def _ask(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        fail("this changes something: pass --yes where there is no terminal to ask on", code=2)
    if not typer.confirm(question, err=True):
        fail("Nothing was changed.")
