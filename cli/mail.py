"""`metamon mail`: what was sent to whom, what failed, and what a person must decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cli.actor import actor
from cli.output import JsonFlag, err, fail, print_json, print_table
from core.states import EmailState, Severity

if TYPE_CHECKING:
    from notifications.smtp import Server

app = typer.Typer(help="Every mail: list, show, resend, test; who hears what.", no_args_is_help=True)


@app.command("list")
def list_(
    app_name: Annotated[str | None, typer.Option("--app", help="Only this app's.")] = None,
    kind: Annotated[str | None, typer.Option(help="critical, resolved, approval, hourly, digest …")] = None,
    state: Annotated[EmailState | None, typer.Option("--status", help="Only mails in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List mails, newest first.

    Example: metamon mail list --status unknown
    """
    from db.queries.addresses import mail_problems
    from db.queries.emails import list_mails
    from db.session import session_factory

    with session_factory()() as session:
        records = list_mails(session, app=app_name, kind=kind, state=state, limit=limit)
        problems = mail_problems(session)
    for problem in problems:
        err.print(f"[yellow]{escape(problem.text)}:[/yellow] {escape(problem.mend)}")
    if as_json:
        print_json(records)
        return
    print_table(
        ["ID", "KIND", "SUBJECT", "TO", "STATE", "SENT"],
        [[r.id, r.kind, r.subject, r.to, r.state.value, r.sent_at] for r in records],
        empty="No mail yet. `metamon mail test --to you@example.com` sends one.",
    )


@app.command()
def show(
    mail_id: int,
    text: Annotated[bool, typer.Option("--text", help="Only the plain text.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Only the HTML source.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show a mail.

    Example: metamon mail show 7 --html > mail.html
    """
    from db.queries.emails import show_mail
    from db.session import session_factory

    if text and html:
        fail("choose one of --text and --html", code=2)
    with session_factory()() as session:
        mail = show_mail(session, mail_id)
    if as_json:
        print_json(mail)
    elif html:
        print(mail.html, end="")
    elif text:
        print(mail.text, end="")
    else:
        state = mail.state.value + (f" ({mail.error})" if mail.error else "")
        for name, value in {
            "To": mail.to,
            "Subject": mail.subject,
            "Message-ID": mail.message_id,
            **mail.headers,
            "State": state,
            "Attempts": str(mail.attempts),
        }.items():
            print(f"{name}: {value}")
        print()
        print(mail.text, end="")


@app.command()
def resend(mail_id: int) -> None:
    """Send again a mail that failed or whose fate is unknown. It keeps its Message-ID.

    Example: metamon mail resend 7
    """
    from db.repositories import emails
    from db.session import session_factory

    with session_factory().begin() as session:
        emails.resend(session, mail_id, by=actor())
    err.print(f"Mail {mail_id} is queued again: metamon mail list")


@app.command("mark-sent")
def mark_sent(mail_id: int) -> None:
    """Close a mail whose fate is unknown: you know that it arrived.

    Example: metamon mail mark-sent 7
    """
    from core.clock import utc_now
    from db.repositories import emails
    from db.session import session_factory

    with session_factory().begin() as session:
        emails.mark_sent(session, mail_id, by=actor(), now=utc_now())
    err.print(f"Mail {mail_id} is marked as sent.")


@app.command()
def recipients(
    app_name: Annotated[str | None, typer.Option("--app", help="Only this app's.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List who is told of which app, and how.

    Example: metamon mail recipients --app fa-ai
    """
    from db.queries.addresses import list_recipients
    from db.session import session_factory

    with session_factory()() as session:
        records = list_recipients(session, app=app_name)
    if as_json:
        print_json(records)
        return
    print_table(
        ["APP", "ADDRESS", "TIMEZONE", "MUTED", "FROM SEVERITY", "QUIET", "BOUNCES", "DISABLED"],
        [
            [
                r.app, r.address, r.timezone, ", ".join(r.muted), r.min_severity.value, r.quiet or "",
                r.bounces or "", r.disabled_at or "",
            ]
            for r in records
        ],
        empty="Nobody is told of anything: metamon apps set APP notify=you@example.com",
    )  # fmt: skip


@app.command()
def wish(
    address: Annotated[str, typer.Argument(help="Somebody on the app's notify list.")],
    *,
    app_name: Annotated[str, typer.Option("--app", help="Of which app.")],
    timezone: Annotated[str | None, typer.Option(help="Their zone; `app` for the app's.")] = None,
    mute: Annotated[list[str] | None, typer.Option(help="A kind they can do without; may be repeated.")] = None,
    unmute: Annotated[list[str] | None, typer.Option(help="A kind they want again.")] = None,
    min_severity: Annotated[Severity | None, typer.Option(help="Alerts below it are not mailed to them.")] = None,
    quiet: Annotated[
        str | None, typer.Option(help="Local hours for critical mail alone: 22:00-07:00, or none.")
    ] = None,
) -> None:
    """Set how somebody wants to hear of an app; `--mute help` names the kinds of mail.

    Example: metamon mail wish ada@example.com --app fa-ai --timezone Asia/Tokyo --quiet 22:00-07:00 --mute hourly
    """
    from core.clock import utc_now
    from db.session import session_factory
    from notifications import wishes

    with session_factory().begin() as session:
        wishes.change(
            session, app_name, address, by=actor(), now=utc_now(), timezone=timezone, mute=mute or (),
            unmute=unmute or (), min_severity=min_severity, quiet=quiet,
        )  # fmt: skip
    err.print(f"Noted: metamon mail recipients --app {app_name}", markup=False, highlight=False)


@app.command()
def enable(address: Annotated[str, typer.Argument(help="An address that bounced and works again.")]) -> None:
    """Write again to an address that was disabled because it bounced.

    Example: metamon mail enable ada@example.com
    """
    from db.repositories import addresses
    from db.session import session_factory

    with session_factory().begin() as session:
        addresses.enable(session, address, by=actor())
    err.print(f"{address} is written to again; check it: metamon mail test --to {address}", markup=False)


@app.command()
def test(to: Annotated[str, typer.Option("--to", help="Whom to write to.")]) -> None:
    """Send a test mail now and say what the server answered.

    Example: metamon mail test --to you@example.com
    """
    from core.clock import utc_now
    from core.settings import settings
    from db.session import session_factory
    from notifications.trial import queue_test

    server = mail_server()
    with session_factory().begin() as session:
        email_id = queue_test(session, to, now=utc_now(), settings=settings())
    send_now(email_id, to, server)


def mail_server() -> Server:
    """Return the mail server, or leave with the way to have one."""
    from core.settings import settings
    from notifications.smtp import parse_server

    url = settings().smtp_url
    if url is None:
        fail("there is no mail server: set METAMON_SMTP_URL, or start the embedded one with `metamon up`", code=4)
    return parse_server(url.get_secret_value())


def send_now(email_id: int, to: str, server: Server) -> None:
    """Send a queued mail now and say what the server answered; leave with code 4 where it did not take it."""
    from core.clock import utc_now
    from core.settings import settings
    from core.states import EmailState
    from db.queries.emails import show_mail
    from db.session import session_factory
    from notifications.deliver import deliver
    from notifications.smtp import PostponedError

    sessions = session_factory()
    try:
        state = deliver(sessions, email_id, server=server, sender=settings().mail_from, now=utc_now, last_attempt=True)
    except PostponedError as error:
        fail(f"{server.host}:{server.port}: {error}", code=4)
    if state is not EmailState.SENT:
        with sessions() as session:
            fail(f"mail {email_id} is {state.value}: {show_mail(session, email_id).error}", code=4)
    err.print(f"{server.host}:{server.port} took mail {email_id} to {to}.", markup=False, highlight=False)
