"""`metamon mail`: what was sent to whom, what failed, and what a person must decide."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.actor import actor
from cli.output import JsonFlag, err, fail, print_json, print_table
from core.states import EmailState

app = typer.Typer(help="Every mail: list, show, resend, mark sent, test.", no_args_is_help=True)


@app.command("list")
def list_(
    app_name: Annotated[str | None, typer.Option("--app", help="Only this app's.")] = None,
    kind: Annotated[str | None, typer.Option(help="critical, resolved, approval, hourly, digest …")] = None,
    state: Annotated[EmailState | None, typer.Option(help="Only mails in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List mails, newest first.

    Example: metamon mail list --state unknown
    """
    from db.queries.emails import deaf_apps, list_mails
    from db.session import session_factory

    with session_factory()() as session:
        records = list_mails(session, app=app_name, kind=kind, state=state, limit=limit)
        deaf = deaf_apps(session)
    for name in deaf:
        err.print(f"[yellow]Nobody is told about {name}:[/yellow] metamon apps set {name} --notify you@example.com")
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
def test(to: Annotated[str, typer.Option("--to", help="Whom to write to.")]) -> None:
    """Send a test mail now and say what the server answered.

    Example: metamon mail test --to you@example.com
    """
    from core.clock import utc_now
    from core.settings import settings
    from core.states import EmailState
    from db.session import session_factory
    from notifications.deliver import deliver
    from notifications.smtp import PostponedError, parse_server
    from notifications.trial import queue_test

    url = settings().smtp_url
    if url is None:
        fail("there is no mail server: set METAMON_SMTP_URL, or start the embedded one with `metamon up`", code=4)
    server = parse_server(url.get_secret_value())
    sessions = session_factory()
    with sessions.begin() as session:
        email_id = queue_test(session, to, now=utc_now(), settings=settings())
    try:
        state = deliver(sessions, email_id, server=server, sender=settings().mail_from, now=utc_now, last_attempt=True)
    except PostponedError as error:
        fail(f"{server.host}:{server.port}: {error}", code=4)
    if state is not EmailState.SENT:
        from db.queries.emails import show_mail

        with sessions() as session:
            fail(f"mail {email_id} is {state.value}: {show_mail(session, email_id).error}", code=4)
    err.print(f"{server.host}:{server.port} took mail {email_id} to {to}.", markup=False, highlight=False)
