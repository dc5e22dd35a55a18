"""`metamon tokens`: what an app sends with its traces, and what a script sends to the API."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.actor import actor
from cli.output import JsonFlag, err, print_json, print_table
from core.states import Scope

app = typer.Typer(help="Tokens for apps (ingest) and for the API (viewer, reviewer, admin).", no_args_is_help=True)


@app.command()
def create(
    scope: Annotated[Scope, typer.Option(help="What the token may do.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Make a token; it is shown once.

    Example: metamon tokens create --scope ingest --name fa-ai
    """
    from db.repositories import tokens
    from db.session import session_factory

    with session_factory().begin() as session:
        token = tokens.create(session, name=name or scope.value, scope=scope, by=actor())
    if as_json:
        print_json({"token": token, "scope": scope.value, "name": name or scope.value})
    else:
        print(token)
        err.print("[dim]Shown once: keep it where your app reads its secrets.[/dim]")


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """List tokens, without the tokens themselves.

    Example: metamon tokens list --json
    """
    from db.queries.tokens import list_tokens
    from db.session import session_factory

    with session_factory()() as session:
        records = list_tokens(session)
    if as_json:
        print_json(records)
        return
    print_table(
        ["ID", "NAME", "SCOPE", "TOKEN", "BY", "CREATED", "LAST USED", "REVOKED"],
        [
            [r.id, r.name, r.scope.value, r.prefix + "…", r.created_by, r.created_at, r.last_used_at, r.revoked_at]
            for r in records
        ],
        empty="No token yet: metamon tokens create --scope ingest --name my-app",
    )


@app.command()
def revoke(token_id: int) -> None:
    """Make a token useless, within seconds.

    Example: metamon tokens revoke 3
    """
    from core.clock import utc_now
    from db.repositories import tokens
    from db.session import session_factory

    with session_factory().begin() as session:
        tokens.revoke(session, token_id, by=actor(), now=utc_now())
    err.print(f"Token {token_id} is revoked.")
