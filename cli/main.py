"""The root of the command line. Areas are imported when they are asked for: `metamon --help` stays quick."""

from __future__ import annotations

import importlib
import os
import sys

import typer

AREAS = {
    "alerts": ("cli.alerts", "What is wrong: list, show, acknowledge, silence, explain."),
    "apps": ("cli.apps", "The monitored apps: add, set, list."),
    "db": ("cli.database", "The database: migrate it, check it, or get the SQL."),
    "digest": ("cli.digest", "The daily digest: preview it, send it."),
    "errors": ("cli.errors", "Errors by pattern: list, merge, split."),
    "evaluate": ("cli.evaluate", "Score a day now."),
    "evaluations": ("cli.evaluations", "Daily scores against yesterday and the baseline."),
    "golden": ("cli.golden", "Golden sets: import, list, show, export."),
    "impact": ("cli.impact", "What rolled-out changes were really worth."),
    "jobs": ("cli.jobs", "The durable record of all work: list, show, retry, cancel."),
    "mail": ("cli.mail", "Every mail: list, show, resend, test; who hears what."),
    "prompts": ("cli.prompts", "The six prompts: list, show, push, pull."),
    "proposals": ("cli.proposals", "What research proposes: list, show, diff, approve, reject."),
    "research": ("cli.research", "Ask for a cause; how far predictions can be believed."),
    "rollouts": ("cli.rollouts", "Changes on their way: status, pause, resume, rollback."),
    "tokens": ("cli.tokens", "Tokens for apps and for the API."),
    "users": ("cli.users", "Who may sign in: create, list, set-role, set-password, disable."),
    "validate": ("cli.validate", "Candidate against baseline on a golden set."),
}

USAGE, UNAVAILABLE = 2, 4
"""Exit codes: what was asked for cannot be, or what it needs is not there."""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Watch an LLM application, explain what went wrong, and prove what helps.",
)


def add_areas(root: typer.Typer, arguments: list[str]) -> None:
    """Add every area to the root, importing only the one that is asked for."""
    asked = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, (module, summary) in AREAS.items():
        area = importlib.import_module(module).app if name == asked else typer.Typer()
        root.add_typer(area, name=name, help=summary)


def take_state_option(argv: list[str]) -> list[str]:
    """Take `--state DIR` from anywhere in the arguments: every command understands it, none has to declare it.

    The folder decides where the settings are read from, so it must be known before any command is.
    """
    rest: list[str] = []
    arguments = iter(argv)
    for argument in arguments:
        if argument == "--":
            rest += [argument, *arguments]
        elif argument == "--state":
            folder = next(arguments, None)
            if folder is None:
                sys.stderr.write("--state takes a folder: metamon status --state ./my-fleet\n")
                raise SystemExit(2)
            os.environ["METAMON_STATE"] = folder
        elif argument.startswith("--state="):
            os.environ["METAMON_STATE"] = argument.removeprefix("--state=")
        else:
            rest.append(argument)
    return rest


def main() -> None:
    """Entry point of the console script."""
    from sqlalchemy.exc import OperationalError

    from cli import fleet
    from cli.output import err
    from core.errors import MetamonError, UnavailableError

    arguments = take_state_option(sys.argv[1:])
    fleet.register(app)
    add_areas(app, arguments)
    try:
        app(args=arguments, prog_name="metamon")
    except MetamonError as error:
        err.print(str(error), style="red", markup=False, highlight=False)
        # 1 is kept for an answer that is bad news, such as a regression: a build must be able to rely on it.
        raise SystemExit(UNAVAILABLE if isinstance(error, UnavailableError) else USAGE) from None
    except OperationalError as error:
        err.print(f"the database does not answer: {str(error.orig).strip()}", style="red", markup=False)
        err.print("`metamon status` says what runs, `metamon doctor` how to mend it.", markup=False)
        raise SystemExit(UNAVAILABLE) from None
