"""`metamon digest`: what the daily mail would say now."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.output import JsonFlag, err, fail, print_json

app = typer.Typer(help="The daily digest: preview it, send it.", no_args_is_help=True)

AppName = Annotated[str, typer.Option("--app", help="Which app's digest.")]


@app.command()
def preview(
    app_name: AppName,
    open_: Annotated[bool, typer.Option("--open", help="Open the HTML in a browser.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the HTML, chart included, to a file.")] = None,
    html: Annotated[bool, typer.Option("--html", help="Print the HTML source instead of the text.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the digest that would go out now. Sends nothing and changes nothing.

    Example: metamon digest preview --app fa-ai --open
    """
    import tempfile
    import webbrowser

    from core.clock import utc_now
    from core.settings import settings
    from db.queries.emails import standalone
    from db.session import session_factory
    from notifications.trial import preview_digest

    with session_factory()() as session:
        mail = preview_digest(session, app_name, now=utc_now(), settings=settings())
    page = standalone(mail.html, mail.chart)
    if as_json:
        print_json({"subject": mail.subject, "text": mail.text, "html": page, "headers": dict(mail.headers)})
        return
    if html:
        print(page, end="")
    elif out is None:
        print(f"Subject: {mail.subject}\n")
        print(mail.text, end="")
    if out is not None or open_:
        file = out or Path(tempfile.mkdtemp(prefix="metamon-digest-")) / "digest.html"
        try:
            file.write_text(page, encoding="utf-8")
        except OSError as error:
            fail(f"{file} cannot be written: {error.strerror}", code=2)
        if not open_ or not webbrowser.open(file.absolute().as_uri()):
            err.print(f"The page is at {file}", markup=False, highlight=False)


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
