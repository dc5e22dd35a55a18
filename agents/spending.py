"""Leave to ask a model, within what the app may spend: reserved first, settled whatever comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import structlog

from core.settings import Settings
from db.repositories import usage
from db.repositories.usage import Caps
from db.session import Sessions
from llm.client import Model, configured

log = structlog.get_logger(__name__)


@contextmanager
def granted(
    sessions: Sessions, settings: Settings, app_id: int, *, purpose: str, now: datetime
) -> Iterator[Model | None]:
    """Yield a model with the budget of one piece of work; None where none is configured, or well, or not spent.

    Args:
        purpose: what the spend is booked under, `research` or `impact`.
    """
    model = configured(settings)
    if model is None:
        yield None
        return
    wanted = Caps(model.budget.calls, model.budget.tokens, model.budget.usd)
    daily = Caps(settings.model_calls_daily, settings.model_tokens_daily, settings.model_usd_daily)
    with sessions() as session, session.begin():
        leave = usage.reserve(session, app_id, purpose=purpose, model=model.name, now=now, wanted=wanted, daily=daily)
    if isinstance(leave, str):
        log.warning("model.not_asked", app_id=app_id, purpose=purpose, reason=leave)
        yield None
        return
    model.budget.calls, model.budget.tokens = leave.caps.calls, leave.caps.tokens
    model.budget.usd = leave.caps.usd
    try:
        yield model
    finally:
        with sessions() as session, session.begin():
            usage.settle(session, leave.id, budget=model.budget, answered=model.answered > 0)
