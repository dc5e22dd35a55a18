"""`metamon rollouts`: changes on their way, and the hand on the lever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.actor import actor
from cli.output import JsonFlag, err, out, print_json, print_table

if TYPE_CHECKING:
    from db.queries.rollouts import RolloutRecord

app = typer.Typer(help="Changes on their way: status, pause, resume, rollback.", no_args_is_help=True)

AppOption = Annotated[str | None, typer.Option("--app", help="Only this app's.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it goes on record.")]


@app.command("list")
def list_(app_name: AppOption = None, as_json: JsonFlag = False) -> None:
    """List rollouts, newest first.

    Example: metamon rollouts list --json
    """
    records = _read(app_name)
    if as_json:
        print_json(records)
    else:
        _table(records)


@app.command()
def status(
    app_name: AppOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again until none is on its way.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the rollouts that are on their way, with the guard's evidence.

    Example: metamon rollouts status --watch
    """
    from core.states import LIVE_ROLLOUTS

    shown = ""
    while True:
        live = [record for record in _read(app_name) if record.state in LIVE_ROLLOUTS]
        if as_json:
            print_json(live)
            return
        now = repr([(record.id, record.state, record.percent, record.reason, record.guard) for record in live])
        if now != shown:
            _table(live, empty="No rollout is on its way.")
            for record in live:
                _evidence(record)
            shown = now
        if not watch or not live:
            return
        time.sleep(1)


@app.command()
def show(rollout_id: int, as_json: JsonFlag = False) -> None:
    """Show one rollout: its stages, the guard's evidence, who did what.

    Example: metamon rollouts show 3
    """
    from db.queries.rollouts import show_rollout
    from db.session import session_factory

    with session_factory()() as session:
        record = show_rollout(session, rollout_id)
    if as_json:
        print_json(record)
        return
    _table([record])
    _evidence(record)
    print_table(
        ["AT", "EVENT", "FROM %", "TO %", "BY", "REASON"],
        [[e.at, e.kind, e.from_percent, e.to_percent, e.actor, e.evidence.get("reason")] for e in record.events],
        empty="Nothing has happened yet.",
    )


@app.command()
def pause(rollout_id: int, reason: ReasonOption = "paused by hand") -> None:
    """Stop a rollout where it is; the guard keeps watching.

    Example: metamon rollouts pause 3 --reason "release today"
    """
    _act("pause", rollout_id, reason)
    err.print(f"Rollout {rollout_id} is paused: metamon rollouts resume {rollout_id}")


@app.command()
def resume(rollout_id: int, reason: ReasonOption = "resumed by hand") -> None:
    """Let a paused rollout go on.

    Example: metamon rollouts resume 3
    """
    _act("resume", rollout_id, reason)
    err.print(f"Rollout {rollout_id} goes on.")


@app.command()
def rollback(rollout_id: int, reason: ReasonOption = "rolled back by hand") -> None:
    """Give everybody the old configuration again. A completed rollout can be taken back too.

    Example: metamon rollouts rollback 3 --reason "customers complain"
    """
    _act("roll_back", rollout_id, reason)
    err.print(f"Rollout {rollout_id} is rolled back: within a second every unit gets the old configuration.")


@app.command()
def promote(rollout_id: int, reason: ReasonOption = "promoted by hand") -> None:
    """Move a rollout to its next stage without waiting for the evidence.

    Example: metamon rollouts promote 3 --reason "too little traffic at night"
    """
    percent = _act("promote", rollout_id, reason)
    err.print(f"Rollout {rollout_id} is at {percent} %.")


def _act(verb: str, rollout_id: int, reason: str) -> Any:
    from agents import rollout
    from agents.cadence import cadence
    from core.clock import utc_now
    from core.settings import settings
    from db.session import session_factory

    more = {"cadence": cadence(demo=settings().demo)} if verb == "promote" else {}
    with session_factory().begin() as session:
        return getattr(rollout, verb)(session, rollout_id, by=actor(), reason=reason, now=utc_now(), **more)


def _read(app_name: str | None) -> list[RolloutRecord]:
    from db.queries.rollouts import list_rollouts
    from db.session import session_factory

    with session_factory()() as session:
        return list_rollouts(session, app=app_name)


def _table(records: list[RolloutRecord] | list[Any], empty: str = "No rollout yet.") -> None:
    print_table(
        ["ID", "APP", "PROPOSAL", "CHANGE", "STATE", "%", "HELD BACK", "SINCE", "REASON"],
        [
            [
                r.id,
                r.app,
                r.proposal_id,
                f"{r.change.get('key')}: {r.change.get('from')} → {r.change.get('to')}",
                r.state.value,
                r.percent,
                f"{r.holdback_percent} %" if r.percent == 100 and r.finished_at is None else None,
                r.stage_started_at,
                r.reason,
            ]
            for r in records
        ],
        empty=empty,
    )


def _evidence(record: RolloutRecord) -> None:
    metrics = {name: entry for name, entry in record.guard.items() if name != "ratio"}
    if not metrics:
        return
    out.print(f"\nEvidence of rollout {record.id}", highlight=False)
    print_table(
        ["METRIC", "BASELINE", "CANDIDATE", "CHANGE", "UNITS", "E AGAINST", "ROLLS BACK AT", "E FOR", "PROMOTES AT"],
        [
            [
                name,
                entry["baseline"],
                entry["candidate"],
                None if entry["drop"] is None else f"{-100 * entry['drop']:+.1f} %",
                " + ".join(str(n) for n in entry["units"]),
                float(f"{entry['e_rollback']:.3g}"),
                entry["rollback_at"],
                float(f"{entry['e_promote']:.3g}"),
                entry["promote_at"],
            ]
            for name, entry in metrics.items()
        ],
        empty="",
    )
