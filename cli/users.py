"""`metamon users`: who may sign in to the dashboard, and what they may do there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.actor import actor
from cli.output import JsonFlag, err, fail, print_json, print_table
from core.states import Scope

if TYPE_CHECKING:
    from db.queries.users import UserRecord

app = typer.Typer(help="People who sign in: viewer, reviewer, admin.", no_args_is_help=True)

Email = Annotated[str, typer.Argument(help="The address they sign in with.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


@app.command()
def create(
    email: Email,
    role: Annotated[Scope, typer.Option(help="viewer, reviewer or admin.")] = Scope.VIEWER,
    time_zone: Annotated[str, typer.Option(help="How times are shown to them.")] = "UTC",
    password_stdin: FromStdin = False,
    as_json: JsonFlag = False,
) -> None:
    """Add somebody who may sign in.

    Example: metamon users create ann@example.com --role reviewer --password-stdin < password.txt
    """
    from db.queries.users import show_user
    from db.repositories import users
    from db.session import session_factory

    password = _password(from_stdin=password_stdin)
    with session_factory().begin() as session:
        made = users.create(session, email=email, role=role, password=password, time_zone=time_zone, by=actor())
        record = show_user(session, made)
    _said(record, f"{record.email} may sign in as {record.role.value}.", as_json=as_json)


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """List everybody.

    Example: metamon users list --json
    """
    from db.queries.users import list_users
    from db.session import session_factory

    with session_factory()() as session:
        records = list_users(session)
    if as_json:
        print_json(records)
        return
    print_table(
        ["ID", "EMAIL", "ROLE", "TIME ZONE", "MADE", "LAST SEEN", "DISABLED"],
        [[r.id, r.email, r.role.value, r.time_zone, r.created_at, r.last_seen_at, r.disabled_at] for r in records],
        empty="Nobody yet: metamon users create EMAIL --role admin --password-stdin",
    )


@app.command()
def set_role(
    email: Email, role: Annotated[Scope, typer.Argument(help="viewer, reviewer or admin.")], as_json: JsonFlag = False
) -> None:
    """Let somebody do more, or less; it holds from their next click.

    Example: metamon users set-role ann@example.com admin
    """
    record = _change(email, role=role)
    _said(record, f"{record.email} is {record.role.value} now.", as_json=as_json)


@app.command()
def set_password(email: Email, password_stdin: FromStdin = False, as_json: JsonFlag = False) -> None:
    """Give somebody another password; all their sessions end.

    Example: metamon users set-password ann@example.com
    """
    record = _change(email, password=_password(from_stdin=password_stdin))
    _said(record, f"{record.email} has another password and is signed out everywhere.", as_json=as_json)


@app.command()
def disable(email: Email, as_json: JsonFlag = False) -> None:
    """Let somebody in no more, from this moment on.

    Example: metamon users disable ann@example.com
    """
    record = _change(email, disabled=True)
    _said(record, f"{record.email} is disabled.", as_json=as_json)


@app.command()
def enable(email: Email, as_json: JsonFlag = False) -> None:
    """Let somebody in again who was disabled.

    Example: metamon users enable ann@example.com
    """
    record = _change(email, disabled=False)
    _said(record, f"{record.email} may sign in again.", as_json=as_json)


def _change(
    email: str, *, role: Scope | None = None, password: str | None = None, disabled: bool | None = None
) -> UserRecord:
    from core.clock import utc_now
    from db.queries.users import show_user
    from db.repositories import users
    from db.session import session_factory

    with session_factory().begin() as session:
        user_id = users.id_of(session, email)
        users.change(session, user_id, role=role, password=password, disabled=disabled, by=actor(), now=utc_now())
        session.flush()
        return show_user(session, user_id)


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        fail("there is no terminal to ask for the password: send it with --password-stdin", 2)
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _said(record: UserRecord, message: str, *, as_json: bool) -> None:
    if as_json:
        print_json(record)
    else:
        err.print(message, markup=False, highlight=False)
