"""Jobs as people see them: lists for the one who looks for what is stuck, and a chain as the tree it is."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy import func, not_, null, or_, select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import JobState
from db.models.jobs import Job
from db.queries.paging import ASCENDING, DESCENDING, Key, after

CHAIN_CAP = 2000
"""Jobs of one chain that are read."""
DEPTH_CAP = 100
"""Levels of a tree; what is deeper hangs below the root, where a reader and a JSON parser can still follow."""
ERROR_SHOWN = 200
"""Characters of an error in a list; `show` has all that is kept."""


class JobRecord(BaseModel):
    """One job, without its arguments."""

    id: int
    key: str
    kind: str
    queue: str
    state: JobState
    attempts: int
    max_attempts: int
    dispatches: int
    age_s: float
    """Since it was made, until it was finished or now; seconds."""
    error: str | None
    root_id: int
    parent_id: int | None
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobNode(JobRecord):
    """One job of a chain, with what came of it."""

    children: list[JobNode] = []


class JobDetail(JobRecord):
    """One job with everything, and the chain it belongs to."""

    args: dict[str, Any]
    """Ids and times only."""
    owner: str | None
    """Celery's task id of the delivery that holds or held it."""
    dispatched_at: datetime | None
    lease_until: datetime | None
    chain: JobNode
    chain_truncated: bool


class QueueSummary(BaseModel):
    """The jobs of one queue in one state."""

    queue: str
    state: JobState
    count: int
    """Of what is finished: of the past day."""
    oldest_age_s: float | None
    """Since the oldest was made; of what is finished: None."""


def summarise(session: Session, *, now: datetime) -> list[QueueSummary]:
    """Count by queue and state: all that is open or dead, and what was finished in the past day."""
    open_ = select(Job.queue, Job.state, func.count(), func.min(Job.created_at)).where(
        Job.state.in_([JobState.QUEUED, JobState.RUNNING, JobState.DEAD])
    )
    over = select(Job.queue, Job.state, func.count(), null()).where(
        Job.finished_at > now - timedelta(days=1), Job.state.in_([JobState.DONE, JobState.CANCELLED])
    )
    rows = [
        *session.execute(open_.group_by(Job.queue, Job.state)),
        *session.execute(over.group_by(Job.queue, Job.state)),
    ]
    return [
        QueueSummary(
            queue=queue, state=state, count=count, oldest_age_s=None if made is None else (now - made).total_seconds()
        )
        for queue, state, count, made in sorted(rows, key=lambda row: (row[0], row[1].value))
    ]


def list_jobs(
    session: Session,
    *,
    now: datetime,
    queue: str | None = None,
    state: JobState | None = None,
    kind: str | None = None,
    older_than: timedelta | None = None,
    root_id: int | None = None,
    ticks: bool = True,
    oldest_first: bool = False,
    key: Key | None = None,
    limit: int = 50,
) -> list[JobRecord]:
    """Return jobs, the newest first.

    Args:
        older_than: only jobs that were made longer ago than this.
        root_id: only jobs of this chain.
        ticks: False leaves out beat's own ticks that are done: several a minute, and all alike.
        oldest_first: turn the order round: what has waited longest comes first.
        key: (id,) of the last one seen.
    """
    query = select(Job)
    if queue is not None:
        query = query.where(Job.queue == queue)
    if state is not None:
        query = query.where(Job.state == state)
    if kind is not None:
        query = query.where(Job.kind == kind)
    if older_than is not None:
        query = query.where(Job.created_at < now - older_than)
    if root_id is not None:
        query = query.where(or_(Job.root_id == root_id, Job.id == root_id))
    if not ticks:
        query = query.where(not_(Job.key.startswith("tick:", autoescape=True) & (Job.state == JobState.DONE)))
    rows = session.scalars(after(query, (Job.id, ASCENDING if oldest_first else DESCENDING), key=key, limit=limit))
    return [JobRecord(**_fields(row, now, cap=ERROR_SHOWN)) for row in rows]


def show_job(session: Session, job_id: int, *, now: datetime) -> JobDetail:
    """Return one job with its chain.

    Raises:
        NotFoundError: there is no such job.
    """
    row = session.get(Job, job_id)
    if row is None:
        raise NotFoundError(f"there is no job {job_id}; `metamon jobs list` shows what there is")
    root_id = row.root_id or row.id
    rows = session.scalars(
        select(Job).where(or_(Job.root_id == root_id, Job.id == root_id)).order_by(Job.id).limit(CHAIN_CAP + 1)
    ).all()
    return JobDetail(
        **_fields(row, now),
        args=row.args,
        owner=row.owner,
        dispatched_at=row.dispatched_at,
        lease_until=row.lease_until,
        chain=tree([JobNode(**_fields(each, now, cap=ERROR_SHOWN)) for each in rows[:CHAIN_CAP]], root_id),
        chain_truncated=len(rows) > CHAIN_CAP,
    )


def tree(nodes: list[JobNode], root_id: int) -> JobNode:
    """Return the chain as a tree. A job whose parent is gone hangs below the root.

    Args:
        nodes: the jobs of one chain by id, at least one. The first stands in for a root that is gone.
    """
    by_id = {node.id: node for node in nodes}
    root = by_id.get(root_id, nodes[0])
    children: dict[int, list[JobNode]] = defaultdict(list)
    depth = {root.id: 0}
    for node in nodes:  # parents have smaller ids, so they come first
        if node is root:
            continue
        parent = node.parent_id if node.parent_id in depth and depth[node.parent_id] < DEPTH_CAP else root.id
        depth[node.id] = depth[parent] + 1
        children[parent].append(node)
    for node in nodes:
        node.children = children[node.id]
    return root


def _fields(row: Job, now: datetime, *, cap: int | None = None) -> dict[str, Any]:
    return {
        "id": row.id,
        "key": row.key,
        "kind": row.kind,
        "queue": row.queue,
        "state": row.state,
        "attempts": row.attempts,
        "max_attempts": row.max_attempts,
        "dispatches": row.dispatches,
        "age_s": max(0.0, ((row.finished_at or now) - row.created_at).total_seconds()),
        "error": row.error[:cap] if row.error and cap else row.error,
        "root_id": row.root_id or row.id,
        "parent_id": row.parent_id,
        "created_at": row.created_at,
        "run_at": row.run_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }
