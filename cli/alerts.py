"""`metamon alerts`: what is wrong, since when, how we know, and who has it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.actor import actor
from cli.hints import command
from cli.output import JsonFlag, bar, err, fail, print_json, print_table
from core.states import AlertState, JobState, Severity

if TYPE_CHECKING:
    from db.queries.alerts import AlertDetail

app = typer.Typer(help="What is wrong: list, show, acknowledge, silence, explain.", no_args_is_help=True)

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def length(text: str) -> timedelta:
    """Return a length of time as people type it: 30m, 4h, 2d."""
    match = re.fullmatch(r"(\d{1,4})([mhd])", text.strip())
    if match is None or int(match[1]) == 0:
        fail(f"{text!r} is no length of time; write 30m, 4h or 2d", code=2)
    return timedelta(**{UNITS[match[2]]: int(match[1])})


@app.command("list")
def list_(
    *,
    app_name: Annotated[str | None, typer.Option("--app", help="Only this app's.")] = None,
    state: Annotated[AlertState | None, typer.Option("--status", help="Only alerts in this state.")] = None,
    severity: Annotated[Severity | None, typer.Option(help="Only alerts of this severity.")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only alerts that are not resolved.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List alerts, newest first.

    Example: metamon alerts list --open
    """
    from db.queries.alerts import list_alerts
    from db.session import session_factory

    with session_factory()() as session:
        records = list_alerts(session, app=app_name, state=state, severity=severity, only_open=only_open, limit=limit)
    if as_json:
        print_json(records)
        return
    print_table(
        ["ID", "APP", "SEVERITY", "STATE", "WHAT", "OPENED", "RESOLVED", "MARKS"],
        [
            [r.id, r.app, r.severity.value, r.state.value, r.title, r.opened_at, r.resolved_at, _marks(r)]
            for r in records
        ],
        empty="No alerts: nothing went wrong, as far as was looked.",
    )


def _rows(name: str, values: Sequence[object]) -> list[list[object]]:
    return [[name, value] for value in values]


def _marks(record: object) -> str:
    marks = {"acknowledged_at": "acknowledged", "silenced": "silenced", "flapping": "flapping"}
    return ", ".join(word for name, word in marks.items() if getattr(record, name))


@app.command()
def show(alert_id: int, as_json: JsonFlag = False) -> None:
    """Show an alert with its life, its evidence and what came of it.

    Example: metamon alerts show 3
    """
    from core.clock import utc_now
    from db.queries.alerts import show_alert
    from db.session import session_factory

    with session_factory()() as session:
        alert = show_alert(session, alert_id, now=utc_now())
    if as_json:
        print_json(alert)
        return
    rows: list[list[object]] = [
        ["alert", f"{alert.id}  {alert.title}"],
        ["app", alert.app],
        ["severity", alert.severity.value],
        ["state", " ".join(filter(None, [alert.state.value, _marks(alert)]))],
        ["bad since", alert.window_start],
        ["until", alert.window_end],
        *_rows("because", alert.reasons),
        *_rows("evidence", alert.trace_urls),
        *_rows("related", [f"alert {other}" for other in alert.related]),
        *_rows("in words", [f"{alert.explanation}  ({alert.explained_by})"] if alert.explanation else []),
        *_rows("proposal", alert.proposals),
        *_rows(
            "silence", [f"{s.id}: {s.reason} ({s.author}, until {s.ends_at:%Y-%m-%d %H:%M %Z})" for s in alert.silences]
        ),
    ]
    if alert.exemplar is not None:
        case = command("golden", "add", "--app", alert.app, "--from-run", str(alert.exemplar))
        rows.append(["keep it from coming back", case])
    if alert.acknowledged_by:
        rows.append(["acknowledged", f"by {alert.acknowledged_by}"])
    print_table(["", ""], rows, empty="")
    print_table(
        ["WHEN", "WHAT", "OBSERVED", ""],
        [[e.at, e.kind, e.observed, e.detail.get("note", "")] for e in alert.events],
        empty="It has no events.",
    )


def _outlook(alert: AlertDetail) -> list[str]:
    """Return what would end it, what mutes it, and what research made of it."""
    lines = []
    if alert.state is AlertState.RESOLVED:
        lines.append(f"over since {alert.resolved_at:%Y-%m-%d %H:%M %Z}" if alert.resolved_at else "over")
    elif alert.recovers_at is not None and alert.expected is not None:
        way = "below" if alert.recovers_at > alert.expected else "above"
        hold = f"{alert.hold_s / 60:.0f} min" if alert.hold_s >= 60 else f"{alert.hold_s:.0f} s"
        lines.append(f"over when it has stayed {way} {alert.recovers_at:.4g} for {hold}")
    if alert.muted_by is not None:
        lines.append(f"muted: alert {alert.muted_by} is its cause and is told instead")
    elif alert.group_id not in (None, alert.id):
        lines.append(f"told together with alert {alert.group_id}")
    if alert.root_cause is not None:
        lines.append(f"research: {alert.root_cause}")
    elif alert.research is not None:
        lines.append("research: nothing stands out" if alert.research is JobState.DONE else "research: under way")
    if alert.explanation is not None:
        lines.append(f"in words: {alert.explanation}  ({alert.explained_by})")
    return lines


def _usual(alert: AlertDetail) -> str:
    """Return where the usual comes from."""
    from db.repositories.roots import TAKEN

    if alert.metric in TAKEN or alert.fingerprint == "anomaly:volume":
        return (
            "  The usual is the level that the series left, judged by its own changes at this time of day. A level\n"
            "  that stays for a day becomes the usual one, and the alert ends."
        )
    return (
        "  The usual is learnt from the last day and from these hours of the last fortnight; times with an open\n"
        "  alert on this metric do not teach it. Both must be surprised before an alert is raised, and where few\n"
        "  runs come the running test, which forgets no window, may say so in their place."
    )


@app.command()
def explain(alert_id: int, as_json: JsonFlag = False) -> None:
    """Explain why an alert was raised: what was seen, what was expected, and the metric around it.

    Example: metamon alerts explain 3
    """
    from core.clock import utc_now
    from core.settings import settings
    from db.queries import metrics
    from db.queries.alerts import show_alert
    from db.session import session_factory

    with session_factory()() as session:
        alert = show_alert(session, alert_id, now=utc_now())
        width = timedelta(seconds=settings().bucket_seconds)
        around = metrics.series(
            session,
            app=alert.app,
            metric=alert.metric,
            start=alert.window_start - 12 * width,
            end=max(alert.window_end, alert.window_start) + 6 * width,
            bucket_s=settings().bucket_seconds,
            points=40,
        )
    if as_json:
        print_json({"alert": alert.model_dump(mode="json"), "series": around.model_dump(mode="json")})
        return
    step = timedelta(seconds=around.step_s)
    print(f"{alert.title}\n")
    for reason in alert.reasons:
        print(f"  {reason}")
    if alert.expected_low is not None and alert.expected_high is not None:
        print(f"  usually {alert.expected:.4g}, 95 % of such windows between {alert.expected_low:.4g} and "
              f"{alert.expected_high:.4g}; seen: {alert.observed:.4g}")  # fmt: skip
    print(_usual(alert) + "\n")
    for line in _outlook(alert):
        print(f"  {line}")
    print()
    print_table(
        ["WHEN", alert.metric.replace("_", " ").upper(), "RUNS", ""],
        [
            [p.at, p.value, p.runs, "◀ bad" if alert.window_start < p.at + step and p.at < alert.window_end else ""]
            for p in around.points
        ],
        empty="The metric has no points around it any more.",
    )
    if alert.proposals:
        err.print(f"What may help: {command('proposals', 'show', str(alert.proposals[0]))}", markup=False)


@app.command()
def replay(
    app_name: Annotated[str | None, typer.Argument(metavar="[APP]", help="Needed where there are several.")] = None,
    *,
    changes: Annotated[list[str], typer.Option("--set", help="sla_ms=800, objectives.error_rate=0.05; repeatable.")],
    since: Annotated[str, typer.Option(help="How far back: 12h, 7d.")] = "7d",
    as_json: JsonFlag = False,
) -> None:
    """Show which alerts a change of the SLA or of an objective would have raised and spared. Changes nothing.

    Example: metamon alerts replay fa-ai --since 7d --set objectives.error_rate=0.05
    """
    from agents.apps import parse_assignments
    from agents.monitoring.check import Cadence
    from agents.monitoring.replay import compare
    from core.clock import utc_now
    from core.settings import settings
    from db.queries.apps import only_app
    from db.session import session_factory

    fields, keys = parse_assignments(changes)
    if keys:
        fail("the app's own configuration changes no alert; --set takes sla_ms and objectives.METRIC", code=2)
    now = utc_now()
    pace = Cadence.of(sweep=settings().sweep_period, bucket=settings().bucket_width, demo=settings().demo)
    with session_factory()() as session, bar("Judging the past again") as advance:
        name = only_app(session, app_name)
        told = compare(session, name, fields, since=now - length(since), until=now, cadence=pace, progress=advance)
    if as_json:
        print_json({"app": name, "since": now - length(since), "until": now, **told.as_json()})
        return
    verdicts = [("spared", each) for each in told.spared] + [("new", each) for each in told.raised]
    verdicts += [("stays", each) for each in told.after if each not in told.raised]
    print_table(
        ["", "SEVERITY", "WHAT", "FIRED", "RESOLVED"],
        [[word, e.severity.value, e.title, e.fired_at, e.resolved_at] for word, e in verdicts],
        empty="No alert, neither as it is nor with the change.",
    )
    err.print(
        f"As it is: {len(told.before)}. With the change: {len(told.after)}, "
        f"{len(told.spared)} spared and {len(told.raised)} new."
    )


@app.command("test")
def drill(
    app_name: Annotated[str | None, typer.Argument(metavar="[APP]", help="Needed where there are several.")] = None,
) -> None:
    """Send a drill to everybody who would be told of a critical alert, and say what the mail server answered.

    Example: metamon alerts test fa-ai
    """
    from cli.mail import mail_server, send_now
    from core.clock import utc_now
    from core.settings import settings
    from db.queries.apps import only_app
    from db.queries.emails import show_mail
    from db.session import session_factory
    from notifications.trial import queue_drill

    server, sessions = mail_server(), session_factory()
    with sessions.begin() as session:
        name = only_app(session, app_name)
        ids = queue_drill(session, name, by=actor(), now=utc_now(), settings=settings(), deliver=False)
        readers = {email_id: show_mail(session, email_id).to for email_id in ids}
    if not readers:
        fail(f"nobody would be told: metamon apps set {name} notify=you@example.com", code=4)
    for email_id, reader in readers.items():
        send_now(email_id, reader, server)


@app.command()
def ack(alert_id: int) -> None:
    """Say that you have it: no more repeats of its mail.

    Example: metamon alerts ack 3
    """
    from core.clock import utc_now
    from db.repositories.alerts import acknowledge
    from db.session import session_factory

    with session_factory().begin() as session:
        first = acknowledge(session, alert_id, by=actor(), now=utc_now())
    err.print(f"Alert {alert_id} is yours." if first else f"Alert {alert_id} was acknowledged before.")


@app.command()
def silence(
    alert_id: int,
    reason: Annotated[str, typer.Option(help="Why; people will wonder.")],
    duration: Annotated[str, typer.Option("--for", help="How long: 30m, 4h, 2d.")] = "4h",
) -> None:
    """Mute what this alert is about, for a while. Still firing at the end, it is mailed once.

    Example: metamon alerts silence 3 --for 4h --reason "load test until five"
    """
    from core.clock import utc_now
    from db.repositories import alerts
    from db.session import session_factory

    now = utc_now()
    until = now + length(duration)
    with session_factory().begin() as session:
        alerts.silence(session, alert_id, by=actor(), reason=reason, until=until, now=now)
    err.print(f"Silent until {until.astimezone():%Y-%m-%d %H:%M}. End it with: ", end="")
    err.print(command("alerts", "unsilence", str(alert_id)), markup=False)


@app.command()
def unsilence(alert_id: int) -> None:
    """End the silences of what this alert is about.

    Example: metamon alerts unsilence 3
    """
    from core.clock import utc_now
    from db.repositories import alerts
    from db.session import session_factory

    with session_factory().begin() as session:
        ended = alerts.unsilence(session, alert_id, by=actor(), now=utc_now())
    err.print("It may be heard again." if ended else f"Nothing silenced alert {alert_id}.")
