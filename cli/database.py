"""`metamon db`: migrations, run by us or as SQL for psql."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.output import err, fail

app = typer.Typer(help="The database: migrate it, check it, or get the SQL.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Bring the database to the newest revision; twice does no harm.

    Example: METAMON_DATABASE_URL=postgresql://… metamon db upgrade
    """
    from db.migrate import upgrade as run
    from db.session import engine

    run(engine())
    err.print("The database is up to date.")


@app.command()
def sql(
    start: Annotated[
        str | None, typer.Option("--from", help="The revision that the database has: SELECT * FROM alembic_version.")
    ] = None,
) -> None:
    """Print the migrations as SQL, for those who apply them by psql: all, or what came after a revision.

    Example: metamon db sql | psql -v ON_ERROR_STOP=1 "$METAMON_DATABASE_URL"

    Example: metamon db sql --from 20261126_screen | psql -v ON_ERROR_STOP=1 "$METAMON_DATABASE_URL"
    """
    from db.migrate import sql as script

    sys.stdout.write(script(start))


@app.command()
def check() -> None:
    """Compare the database with the models; leaves with 1 where they differ.

    Example: metamon db check
    """
    from alembic.util import CommandError

    from db.migrate import check as run
    from db.session import engine

    try:
        run(engine())
    except CommandError as error:
        fail(f"{error}\n`metamon db upgrade` applies what is missing.")
    err.print("The database matches the models.")
