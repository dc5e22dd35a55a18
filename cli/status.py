"""`metamon status`: the verdict first, then apps, queues, rollouts and where everything is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import JsonFlag, err, fail, out, print_json, print_table

if TYPE_CHECKING:
    from workers.status import Status

EXIT_CODES = {"ok": 0, "degraded": 1, "down": 4}
WATCH_S = 2.0


def status(
    as_json: JsonFlag = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds until Ctrl-C.")] = False,
) -> None:
    """Say how the fleet is and where everything is. Leaves with 0 where all is well, 1 degraded, 4 down.

    Example: metamon status --json
    """
    if watch and as_json:
        fail("--json prints one document and --watch never ends: choose one", 2)
    while True:
        record = _read()
        if as_json:
            print_json(record)
        else:
            if watch:
                out.clear()
            _print(record)
        if not watch:
            raise typer.Exit(EXIT_CODES[record.verdict.value])
        try:
            time.sleep(WATCH_S)
        except KeyboardInterrupt:
            return


def _read() -> Status:
    from core.clock import utc_now
    from core.settings import settings
    from db.session import session_factory
    from workers.status import read

    settings.cache_clear()  # a fleet that was started meanwhile has its say
    values = settings()
    return read(values, session_factory() if values.database_url else None, now=utc_now())


def _print(record: Status) -> None:
    from rich.text import Text

    colour = {"ok": "green", "degraded": "yellow", "down": "red"}[record.verdict.value]
    out.print(Text(record.verdict.value.upper(), style=f"bold {colour}"))
    for reason in record.reasons:
        out.print(f"  {reason}", markup=False, highlight=False, soft_wrap=True)
    places = {"API": record.url, "Flower": record.flower_url, "Mail": record.mail, "State": record.state}
    for name, value in places.items():
        if value:
            out.print(f"  {name:<7} {value}", markup=False, highlight=False, soft_wrap=True)
    if record.verdict.value == "down":
        return
    out.print()
    print_table(
        ["APP", "OPEN ALERTS", "LAST SWEEP"],
        [[app.name, app.open_alerts, app.last_sweep if app.enabled else "paused"] for app in record.apps],
        empty="No app is monitored yet: metamon apps add NAME",
    )
    for app in record.apps:
        for note in app.notes:
            out.print(f"  {app.name}: {note}", style="dim", markup=False, highlight=False, soft_wrap=True)
    out.print()
    print_table(
        ["QUEUE", "QUEUED", "RUNNING", "DEAD", "OLDEST S"],
        [[queue.name, queue.queued, queue.running, queue.dead, queue.oldest_age_s] for queue in record.queues],
        empty="",
    )
    if record.rollouts:
        out.print()
        print_table(
            ["ROLLOUT", "APP", "PROPOSAL", "PERCENT", "STATE", "REASON"],
            [[r.id, r.app, r.proposal_id, r.percent, r.state, r.reason] for r in record.rollouts],
            empty="",
        )
    if record.services:
        out.print()
        print_table(
            ["SERVICE", "STATE", "PID", "RESTARTS", "WHERE"],
            [[s["name"], s["state"], s["pid"], s["restarts"], s["url"]] for s in record.services],
            empty="",
        )
    else:
        err.print("No embedded fleet: the services are the configured ones.", style="dim")
