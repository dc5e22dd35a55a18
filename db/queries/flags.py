"""What OFREP needs to answer: each app's configuration and the rollouts that split it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.states import LIVE_ROLLOUTS
from db.models.apps import App
from db.models.rollouts import Flag, Rollout
from db.repositories.flags import key_of


@dataclass(frozen=True)
class Split:
    """One live rollout: who gets what."""

    rollout_id: int
    salt: str
    percent: int
    """Share of units that get the candidate now, the hold-back taken out."""
    change: dict[str, Any]


@dataclass(frozen=True)
class FlagSource:
    """One app's flag before a unit is known."""

    key: str
    config: dict[str, Any]
    enabled: bool
    splits: tuple[Split, ...]


def flag_sources(session: Session) -> dict[str, FlagSource]:
    """Return every app's flag by key."""
    splits: dict[int, list[Split]] = {}
    for rollout in session.scalars(select(Rollout).where(Rollout.state.in_(LIVE_ROLLOUTS)).order_by(Rollout.id)):
        share = min(rollout.percent, 100 - rollout.holdback_percent)
        splits.setdefault(rollout.app_id, []).append(Split(rollout.id, rollout.salt, share, rollout.change))
    disabled = set(session.scalars(select(Flag.app_id).where(Flag.enabled.is_(False))))
    return {
        key_of(app.name): FlagSource(
            key_of(app.name), app.config, app.id not in disabled, tuple(splits.get(app.id, ()))
        )
        for app in session.scalars(select(App))
    }
