"""`metamon run`: one process of the fleet in the foreground, for containers and other supervisors."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from cli.output import fail


class Part(StrEnum):
    """What the fleet consists of."""

    API = "api"
    BEAT = "beat"
    RELAY = "relay"
    WORKER = "worker"
    FLOWER = "flower"
    SMTP = "smtp"
    DEMO = "demo"


def run(
    part: Annotated[Part, typer.Argument(help="Which process.")],
    queue: Annotated[str, typer.Option(help="The worker's queue.")] = "",
    host: Annotated[str, typer.Option(help="Address that the mail catcher listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port that the mail catcher listens on.")] = 1025,
) -> None:
    """Run one process of the fleet; `metamon up` runs them all.

    Example: metamon run worker --queue validation
    """
    from core.settings import settings
    from workers.embedded import processes
    from workers.embedded.folder import StateFolder
    from workers.queues import QUEUES

    values = settings()
    folder = StateFolder(values.state)
    folder.prepare()
    env = processes.environment(folder, {})
    if part is Part.WORKER:
        if queue not in QUEUES:
            fail(f"--queue is one of {', '.join(QUEUES)}", 2)
        spec = processes.workers(folder, env)[QUEUES.index(queue)]
    elif part is Part.API:
        spec = processes.api(values.api_host, values.api_port, env)
    elif part is Part.FLOWER:
        if values.flower_password is None or not values.flower_password.get_secret_value():
            fail("Flower shows everything the fleet does: set METAMON_FLOWER_PASSWORD", 2)
        login = f"{values.flower_user}:{values.flower_password.get_secret_value()}"
        spec = processes.flower(folder, values.flower_host, values.flower_port, login=login, env=env)
    elif part is Part.SMTP:
        spec = processes.smtp(folder, port, env, host=host)
    elif part is Part.DEMO:
        spec = processes.demo(env)
    else:
        spec = next(spec for spec in processes.clockwork(env) if spec.name == part.value)
    os.execvpe(spec.command[0], list(spec.command), dict(spec.env))  # noqa: S606  # the process takes this one's place
