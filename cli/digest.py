"""`metamon digest`: what the daily mail would say now."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import JsonFlag, err, print_json

app = typer.Typer(help="The daily digest: preview it, send it.", no_args_is_help=True)

AppName = Annotated[str, typer.Option("--app", help="Which app's digest.")]


@app.command()
def preview(
    app_name: AppName,
    open_: Annotated[bool, typer.Option("--open", help="Open the HTML in a browser.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Print the HTML source instead of the text.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the digest that would go out now. Sends nothing and changes nothing.

    Example: metamon digest preview --app fa-ai --open
    """
    import tempfile
    import webbrowser
    from pathlib import Path

    from core.clock import utc_now
    from core.settings import settings
    from db.session import session_factory
    from notifications.trial import preview_digest

    with session_factory()() as session:
        mail = preview_digest(session, app_name, now=utc_now(), settings=settings())
    if as_json:
        print_json({"subject": mail.subject, "text": mail.text, "html": mail.html, "headers": dict(mail.headers)})
        return
    if html:
        print(mail.html, end="")
    else:
        print(f"Subject: {mail.subject}\n")
        print(mail.text, end="")
    if open_:
        page = Path(tempfile.mkdtemp(prefix="metamon-digest-")) / "digest.html"
        page.write_text(mail.html, encoding="utf-8")
        if not webbrowser.open(page.as_uri()):
            err.print(f"No browser could be started; the page is at {page}", markup=False, highlight=False)


@app.command()
def send(
    app_name: AppName,
    to: Annotated[str, typer.Option("--to", help="Whom to send it to.")],
) -> None:
    """Send the digest of this moment to one address, beside the daily one.

    Example: metamon digest send --app fa-ai --to you@example.com
    """
    from core.clock import utc_now
    from core.settings import settings
    from db.session import session_factory
    from notifications.trial import queue_digest

    with session_factory().begin() as session:
        email_id = queue_digest(session, app_name, to, now=utc_now(), settings=settings())
    err.print(f"Mail {email_id} is queued: metamon mail show {email_id}", markup=False, highlight=False)
