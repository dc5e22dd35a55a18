"""`metamon doctor`: every check with its fix."""

from __future__ import annotations

import typer

from cli.output import JsonFlag, out, print_json


def doctor(as_json: JsonFlag = False) -> None:
    """Check everything the fleet stands on and say how to mend it. Leaves with 1 where something must be mended.

    Example: metamon doctor
    """
    from rich.text import Text

    from core.settings import settings
    from db.session import session_factory
    from workers.doctor import Outcome, examine

    values = settings()
    checks = []
    for check in examine(values, session_factory() if values.database_url else None):
        checks.append(check)
        if not as_json:
            colour = {"ok": "green", "warn": "yellow", "fail": "red"}[check.outcome.value]
            line = Text.assemble((f"{check.outcome.value:<5}", colour), f"{check.name:<13} {check.detail}")
            out.print(line, soft_wrap=True)
            if check.fix:
                out.print(Text(f"{'':18} → {check.fix}", style="bold"), soft_wrap=True)
    if as_json:
        print_json(checks)
    raise typer.Exit(1 if any(check.outcome is Outcome.FAIL for check in checks) else 0)
