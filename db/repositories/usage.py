"""What language models were asked, and what it took."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from db.models.evaluation import ModelUsage


class Spent(Protocol):
    """A budget, as `llm.budget` keeps it."""

    spent_calls: int
    spent_tokens: int
    tokens: int


def record(session: Session, app_id: int | None, *, purpose: str, model: str, now: datetime, budget: Spent) -> None:
    """Add what one piece of work spent."""
    session.add(
        ModelUsage(
            app_id=app_id,
            at=now,
            purpose=purpose,
            model=model,
            calls=budget.spent_calls,
            tokens=budget.spent_tokens,
            token_cap=budget.tokens,
        )
    )
