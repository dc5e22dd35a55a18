"""`metamon pause` and `metamon unpause`: hold the fleet, or one queue."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.actor import actor
from cli.output import err, fail

Queue = Annotated[str | None, typer.Argument(help="monitoring, research, validation, rollout, …")]
All = Annotated[bool, typer.Option("--all", help="All queues.")]


def pause(
    reason: Annotated[str, typer.Option(help="Why; it goes on record.")],
    queue: Queue = None,
    everything: All = False,
) -> None:
    """Hold a queue, or all: jobs wait, nothing is lost. The guards of rollouts stay awake.

    Example: metamon pause --all --reason "database maintenance"
    """
    from core.clock import utc_now
    from db.repositories import pauses
    from db.session import session_factory
    from workers.queues import QUEUES

    _one_of(queue, everything=everything)
    with session_factory().begin() as session:
        pauses.pause(session, queue, queues=QUEUES, by=actor(), reason=reason, now=utc_now())
    err.print(f"{queue or 'All queues'}: paused. metamon unpause {queue or '--all'} lets them go on.", markup=False)


def unpause(queue: Queue = None, everything: All = False) -> None:
    """Let a queue go on, or lift the pause of all.

    Example: metamon unpause --all
    """
    from db.repositories import pauses
    from db.session import session_factory

    _one_of(queue, everything=everything)
    with session_factory().begin() as session:
        pauses.unpause(session, queue, by=actor())
    err.print(f"{queue or 'All queues'}: going on.", markup=False)


def _one_of(queue: str | None, *, everything: bool) -> None:
    if (queue is None) != everything:
        fail("name a queue, or say --all", 2)
