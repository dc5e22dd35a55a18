"""An upload is stored or refused aloud, whatever the order in which things go wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from psycopg.errors import DeadlockDetected
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import sessionmaker

from db.repositories.feedback import FeedbackOp
from db.repositories.runs import NotNewError
from traces import ingest

NOW = datetime(2026, 11, 26, tzinfo=UTC)
DEADLOCK = OperationalError("COPY", None, DeadlockDetected())


def test_a_run_met_after_three_dead_locks_is_stored_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """To answer 202 and have stored nothing would be the one loss that nobody notices."""
    outcomes: list[Exception | None] = [*[DEADLOCK] * (ingest.ATTEMPTS - 1), NotNewError(), None]
    careful = _play(monkeypatch, outcomes)
    assert outcomes == []
    assert careful[-1] is True


def test_a_database_that_always_locks_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender hears of it and sends again."""
    outcomes: list[Exception | None] = [DEADLOCK] * ingest.ATTEMPTS
    with pytest.raises(OperationalError):
        _play(monkeypatch, outcomes)
    assert outcomes == []


def _play(monkeypatch: pytest.MonkeyPatch, outcomes: list[Exception | None]) -> list[bool]:
    """Store an upload whose writes end as given; return which were careful."""
    calls: list[bool] = []

    def write(*_: object, careful: bool) -> None:
        calls.append(careful)
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    monkeypatch.setattr(ingest, "_write", write)
    op = FeedbackOp(id=UUID(int=1), day=NOW.date(), key="k", created_at=NOW, modified_at=NOW)
    nowhere = sessionmaker(create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    ingest.store(nowhere, ingest.Upload(feedback=[op]), now=NOW)
    return calls
