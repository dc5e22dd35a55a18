"""A fleet with three steps whose only work is to leave a mark, and to die where a test says so.

`celery -A tests.chaos.fleet worker` serves the real app with these tasks beside the real ones.
"""

from __future__ import annotations

import os
import signal

from sqlalchemy import text
from sqlalchemy.orm import Session

from workers.app import app
from workers.runner import RunningJob, fleet_task

__all__ = ["app"]

STEPS = ("monitoring.mark", "research.mark", "notifications.mark")

CREATE_MARKS = """
CREATE TABLE marks (id bigserial PRIMARY KEY, chain int NOT NULL, step int NOT NULL, attempt int NOT NULL);
CREATE TABLE executions (id bigserial PRIMARY KEY, chain int NOT NULL, step int NOT NULL);
"""
"""No unique key on purpose: a second effect must show."""


def die() -> None:
    """Kill this very process the hard way."""
    os.kill(os.getpid(), signal.SIGKILL)


def step(job: RunningJob) -> None:
    """Leave a mark and enqueue the next step; die at the point that the arguments name, on the attempts they name."""
    chain, number = int(job.args["chain"]), int(job.args["step"])
    with job.sessions() as session, session.begin():
        session.execute(
            text("INSERT INTO executions (chain, step) VALUES (:chain, :step)"), {"chain": chain, "step": number}
        )
    point = job.args.get("die")
    dying = point is not None and job.args.get("die_step") == number and job.claim.attempt <= int(job.args["die_times"])
    if dying and point == "before":
        die()
    with job.finish() as session:
        mark(session, chain, number, job.claim.attempt)
        if number + 1 < len(STEPS):
            following = {**job.args, "step": number + 1}
            job.then(session, key=f"mark:{chain}:{number + 1}", kind=STEPS[number + 1], **following)
        if dying and point == "inside":
            session.flush()
            die()
    if dying and point == "after":
        die()


def mark(session: Session, chain: int, number: int, attempt: int) -> None:
    """Leave the mark."""
    session.execute(
        text("INSERT INTO marks (chain, step, attempt) VALUES (:chain, :step, :attempt)"),
        {"chain": chain, "step": number, "attempt": attempt},
    )


for _name in STEPS:
    fleet_task(_name)(step)
