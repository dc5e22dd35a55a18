"""What language models were asked: reserved before it is spent, settled when it is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.states import USAGE, UsageOutcome
from db.models.evaluation import ModelUsage
from db.repositories import proposals

DAY = timedelta(hours=24)

BREAKER_FAILURES = 3
BREAKER_REST = timedelta(minutes=10)
"""After so many failures in a row a model is left alone so long; then one piece of work tries it."""


class Spent(Protocol):
    """A budget, as `llm.budget` keeps it."""

    spent_calls: int
    spent_tokens: int
    spent_usd: float
    tokens: int


@dataclass(frozen=True)
class Caps:
    """What may be spent at most."""

    calls: int
    tokens: int
    usd: float


@dataclass(frozen=True)
class Reservation:
    """What was granted. A reservation that is never settled stays spent: the caps hold over crashes."""

    id: int
    caps: Caps


def reserve(
    session: Session, app_id: int, *, purpose: str, model: str, now: datetime, wanted: Caps, daily: Caps
) -> Reservation | str:
    """Book what a piece of work may spend, within what the app has left of its day; one at a time for each app.

    Returns:
        The reservation, or why there is none.
    """
    proposals.lock_app(session, app_id)
    if _is_broken(session, model, now=now):
        return f"{model} failed {BREAKER_FAILURES} times in a row: it is left alone for a while"
    calls, tokens, usd = session.execute(
        select(
            func.coalesce(func.sum(ModelUsage.calls), 0),
            func.coalesce(func.sum(ModelUsage.tokens), 0),
            func.coalesce(func.sum(ModelUsage.cost), 0.0),
        ).where(ModelUsage.app_id == app_id, ModelUsage.at > now - DAY)
    ).one()
    caps = Caps(
        min(wanted.calls, daily.calls - int(calls)),
        min(wanted.tokens, daily.tokens - int(tokens)),
        min(wanted.usd, daily.usd - float(usd)),
    )
    for name, left in (("calls", caps.calls), ("tokens", caps.tokens), ("money", caps.usd)):
        if left <= 0:
            return f"the app's {name} for 24 hours are spent"
    row = ModelUsage(
        app_id=app_id, at=now, purpose=purpose, model=model, calls=caps.calls, tokens=caps.tokens, cost=caps.usd,
        token_cap=caps.tokens, outcome=UsageOutcome.RESERVED,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return Reservation(row.id, caps)


def settle(session: Session, reservation_id: int, *, budget: Spent, answered: bool) -> None:
    """Write what was really spent; a reservation that nothing was spent of disappears."""
    row = session.get_one(ModelUsage, reservation_id)
    if budget.spent_calls == 0:
        session.delete(row)
        return
    row.calls, row.tokens, row.cost = budget.spent_calls, budget.spent_tokens, budget.spent_usd
    row.outcome = USAGE.check(UsageOutcome(row.outcome), UsageOutcome.ANSWERED if answered else UsageOutcome.FAILED)


def _is_broken(session: Session, model: str, *, now: datetime) -> bool:
    """Tell whether the circuit is open: the latest all failed, and somebody tried (or tries) within the rest."""
    settled = session.execute(
        select(ModelUsage.outcome)
        .where(ModelUsage.model == model, ModelUsage.outcome != UsageOutcome.RESERVED, ModelUsage.at > now - DAY)
        .order_by(ModelUsage.at.desc(), ModelUsage.id.desc())
        .limit(BREAKER_FAILURES)
    ).scalars()
    outcomes = list(settled)
    if len(outcomes) < BREAKER_FAILURES or any(outcome != UsageOutcome.FAILED for outcome in outcomes):
        return False
    latest = session.scalar(select(func.max(ModelUsage.at)).where(ModelUsage.model == model))
    return latest is not None and latest > now - BREAKER_REST
