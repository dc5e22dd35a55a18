"""Day partitions of runs and feedback: made on demand, dropped whole by retention."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db.session import Sessions

TABLES = ("runs", "feedback")
LOCK = 7305811944
LOCK_TIMEOUT_MS = 3000
ATTEMPTS = 3
DAYS_AT_ONCE = 10
"""Days that one transaction drops: twenty tables with their indexes are some two hundred locks."""

_known: WeakKeyDictionary[Engine, set[date]] = WeakKeyDictionary()


def partition(table: str, day: date) -> str:
    """Return the name of a day's partition."""
    return f"{table}_{day:%Y%m%d}"


def ensure(sessions: Sessions, days: Iterable[date]) -> None:
    """Make the partitions of the days where they are missing. Known days cost nothing."""
    wanted = set(days)
    with sessions() as session:
        engine = _engine(session)
        known = _known.setdefault(engine, set())
        for day in sorted(wanted - known):
            _make(session, day)
            known.add(day)


def forget(sessions: Sessions) -> None:
    """Forget which partitions exist: another process may have dropped one."""
    with sessions() as session:
        _known.pop(_engine(session), None)


def drop_before(sessions: Sessions, day: date) -> list[str]:
    """Drop all runs and feedback of days before `day`, and what waited for them. Returns the dropped tables.

    Oldest first, `DAYS_AT_ONCE` in a transaction: Postgres' lock table is too small for a year of them, and what is
    dropped stays so, whatever becomes of the rest. Safe to repeat, and to run twice at the same time.

    Raises:
        OperationalError: a reader holds a table. Dropping takes an exclusive lock on the parent for a moment and gives
            up rather than queue behind a long reader.
    """
    with sessions() as session:
        names = session.scalars(
            text(
                "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
                "JOIN pg_class parent ON parent.oid = inhparent "
                "WHERE parent.relname = ANY(:tables) AND parent.relnamespace = current_schema()::regnamespace "
                "ORDER BY child.relname"
            ),
            {"tables": list(TABLES)},
        ).all()
    old: dict[date, list[str]] = {}
    for name in names:
        stamp = name.rpartition("_")[2]
        if stamp.isdigit() and (of := datetime.strptime(stamp, "%Y%m%d").replace(tzinfo=UTC).date()) < day:
            old.setdefault(of, []).append(name)
    days = sorted(old)
    for begin in range(0, len(days), DAYS_AT_ONCE):
        some = days[begin : begin + DAYS_AT_ONCE]
        _drop(sessions, [name for each in some for name in old[each]], through=some[-1])
    _drop(sessions, [], through=day - timedelta(days=1))
    return [name for each in days for name in old[each]]


def _drop(sessions: Sessions, names: Iterable[str], *, through: date) -> None:
    with sessions() as session, session.begin():
        session.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
        for name in names:
            session.execute(text(f'DROP TABLE IF EXISTS "{name}"'))
        session.execute(text("DELETE FROM loose_ends WHERE day <= :day"), {"day": through})


def _engine(session: Session) -> Engine:
    bind = session.get_bind()
    return bind.engine if isinstance(bind, Connection) else bind


def _make(session: Session, day: date) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with session.begin():
                session.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
                # Two processes at midnight: the second waits here and then finds the tables.
                session.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
                for table in TABLES:
                    name = partition(table, day)
                    if session.scalar(text("SELECT to_regclass(:name)"), {"name": name}) is not None:
                        continue
                    # Made apart and attached: CREATE … PARTITION OF would lock the parent against every reader.
                    session.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)"))
                    bounds = f"FROM ('{day.isoformat()}') TO ('{(day + timedelta(days=1)).isoformat()}')"
                    session.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {bounds}"))
        except OperationalError:
            if attempt == ATTEMPTS:
                raise
        else:
            return
