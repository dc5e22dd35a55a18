"""The process: it tells the history once per state, whatever happens to it in between."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.models import App, Watermark
from demo import setup
from demo.__main__ import HISTORY, base_url, tell_history
from demo.setup import Place


def test_the_history_is_told_once_and_a_broken_telling_is_repeated_to_the_same_end(
    sessions: sessionmaker[Session], place: Place
) -> None:
    """The moment it ends at is fixed by the first attempt, so that a second one makes the same runs."""
    app_id = setup.ensure_app(sessions, place)
    ends: list[datetime] = []

    def killed(until: datetime) -> int | None:
        ends.append(until)
        raise KeyboardInterrupt

    def stopped(until: datetime) -> int | None:
        ends.append(until)
        return None

    def whole(until: datetime) -> int | None:
        ends.append(until)
        return 42

    with pytest.raises(KeyboardInterrupt):
        tell_history(sessions, app_id, killed)
    tell_history(sessions, app_id, stopped)
    with sessions() as session:
        assert not session.get_one(App, app_id).enabled, "half a history is not judged"
    for _ in range(2):
        tell_history(sessions, app_id, whole)
    assert len(ends) == 3
    assert len(set(ends)) == 1
    with sessions() as session:
        assert session.get_one(Watermark, (app_id, HISTORY)).state == {"told": True, "traces": 42}
        assert session.get_one(App, app_id).enabled


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:8600"), ("10.1.2.3", "http://10.1.2.3:8600")])
def test_the_api_is_asked_where_this_machine_reaches_it(host: str, url: str) -> None:
    """An address to listen on is not always one to connect to."""
    assert base_url(Settings(api_host=host, api_port=8600)) == url
