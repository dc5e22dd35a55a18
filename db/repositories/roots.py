"""Root runs of a project, looked at through one metric: when the bad ones came, and which were worst."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

SCORE_CAP = 1e9


@dataclass(frozen=True)
class Lens:
    """What makes a root run bad.

    Attributes:
        metric: `error_rate`, `sla_compliance`, `latency_p95`, or a feedback key.
        limit_s: for SLA and latency, the length in seconds beyond which a run is bad.
    """

    metric: str
    limit_s: float = 0.0

    @property
    def of_score(self) -> bool:
        """Whether a feedback key decides."""
        return self.metric not in ("error_rate", "sla_compliance", "latency_p95")


_FINISHED = "r.status IN ('success', 'error')"
_LENGTH = "extract(epoch FROM r.end_time - r.start_time)"
_LONG = "r.end_time - r.start_time > make_interval(secs => :limit_s)"

_SEEN = {
    # metric: (badness in [0, 1], which runs count, what ranks equally bad ones)
    "error_rate": ("(r.status = 'error')::int::float8", _FINISHED, "extract(epoch FROM r.start_time)"),
    "sla_compliance": (f"(r.status = 'error' OR {_LONG})::int::float8", _FINISHED, _LENGTH),
    "latency_p95": (f"({_LONG})::int::float8", "r.status = 'success'", _LENGTH),
}

_SCORED = """
JOIN LATERAL (SELECT avg(f.score) AS score FROM feedback f
               WHERE f.trace_id = r.id AND f.key = :metric AND f.day >= :feedback_day
                 AND f.score BETWEEN -cast(:score_cap AS float8) AND :score_cap) AS s ON s.score IS NOT NULL
"""


def _seen(lens: Lens) -> str:
    if lens.of_score:
        badness, counted, rank, join = "1 - least(greatest(s.score, 0), 1)", "true", "-s.score", _SCORED
    else:
        badness, counted, rank = _SEEN[lens.metric]
        join = ""
    # The fragments are ours, the values are bound.
    return f"""
        SELECT r.id, r.start_time, {badness} AS badness, {rank} AS rank FROM runs r {join}
         WHERE r.is_root AND r.project_id = :project AND r.start_time >= :since AND r.start_time < :until AND {counted}
    """  # noqa: S608


def slots(
    session: Session, project_id: UUID, lens: Lens, *, since: datetime, until: datetime, width: timedelta
) -> list[tuple[datetime, float, int]]:
    """Return (start, Σ badness, runs) of the non-empty slots in [since, until), in time's order."""
    statement = text(
        "SELECT date_bin(:width, start_time, cast(:since AS timestamptz)) AS slot, "  # noqa: S608
        "sum(badness) AS bad, count(*) AS n "
        f"FROM ({_seen(lens)}) AS seen GROUP BY 1 ORDER BY 1"
    )
    rows = session.execute(statement, {**_values(project_id, lens, since, until), "width": width})
    return [(row.slot, float(row.bad), row.n) for row in rows]


def worst(
    session: Session, project_id: UUID, lens: Lens, *, since: datetime, until: datetime, limit: int = 10
) -> list[UUID]:
    """Return the ids of the worst runs that started in [since, until): latest errors, slowest, lowest scored."""
    statement = text(
        f"SELECT id FROM ({_seen(lens)}) AS seen WHERE badness > 0 "  # noqa: S608
        "ORDER BY badness DESC, rank DESC, start_time DESC LIMIT :limit"
    )
    return list(session.scalars(statement, {**_values(project_id, lens, since, until), "limit": limit}))


def last_start(session: Session, project_id: UUID, *, until: datetime) -> datetime | None:
    """Return when the latest root run before the moment began."""
    found: datetime | None = session.scalars(
        text("SELECT max(start_time) FROM runs WHERE is_root AND project_id = :project AND start_time <= :until"),
        {"project": project_id, "until": until},
    ).one()
    return found


def _values(project_id: UUID, lens: Lens, since: datetime, until: datetime) -> dict[str, object]:
    return {
        "project": project_id, "since": since, "until": until,
        **({"limit_s": lens.limit_s} if lens.metric in ("sla_compliance", "latency_p95") else {}),
        **(
            {"metric": lens.metric, "feedback_day": (since - timedelta(days=1)).date(), "score_cap": SCORE_CAP}
            if lens.of_score
            else {}
        ),
    }  # fmt: skip
