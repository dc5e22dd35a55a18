"""Validations: list them, read one with its cases, ask for one."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents import validation, validation_end
from agents.validation_plan import Plan
from api.auth import Db, Reviewer, Viewer
from core.clock import utc_now
from core.states import CaseOutcome
from db.queries.validations import (
    CaseRecord,
    Progress,
    ValidationDetail,
    ValidationRecord,
    list_cases,
    list_validations,
    progress,
    show_validation,
)

router = APIRouter(prefix="/validations")


class NewValidation(BaseModel):
    """Either a proposal, or an app with the keys that the candidate sets otherwise."""

    model_config = ConfigDict(extra="forbid")

    proposal_id: int | None = None
    app: str | None = None
    changes: dict[str, str | int | float | bool] = Field(default_factory=dict)
    repeats: int = Field(default=1, ge=1, le=20)
    smoke: int = Field(default=0, ge=0, le=10_000)
    golden_set: str | None = None
    budget_usd: float | None = Field(default=None, gt=0, le=1e6)
    budget_tokens: int | None = Field(default=None, gt=0, le=2**31 - 1)
    baseline_of: int | None = None
    """Compare with the candidate of this run instead of with the configuration in force."""
    only_failed: int | None = None
    """Run only the cases that went wrong in this run."""
    resume: int | None = None
    """Take over what this run finished, and run the rest."""

    @model_validator(mode="after")
    def _one_of(self) -> NewValidation:
        if sum(given is not None for given in (self.proposal_id, self.app, self.resume)) != 1:
            raise ValueError("name a proposal_id, or an app with changes, or a run to resume")
        if self.app is not None and not self.changes and self.baseline_of is None:
            raise ValueError("changes must name at least one key")
        return self


class Accepted(BaseModel):
    """The run that was enqueued, and what it will take."""

    id: int
    plan: Plan


@router.get("")
def index(
    _: Viewer,
    sessions: Db,
    app: str | None = None,
    proposal_id: int | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[ValidationRecord]:
    """List runs, newest first."""
    with sessions() as session:
        return list_validations(session, app=app, proposal_id=proposal_id, limit=limit)


@router.post("", status_code=202)
def create(new: NewValidation, bearer: Reviewer, sessions: Db) -> Accepted:
    """Enqueue a run."""
    wish = validation.Wish(
        by=bearer.actor,
        seed=secrets.randbelow(2**31),
        repeats=new.repeats,
        smoke=new.smoke,
        set_name=new.golden_set,
        budget_usd=new.budget_usd,
        budget_tokens=new.budget_tokens,
        only_failed=new.only_failed,
    )
    with sessions.begin() as session:
        if new.resume is not None:
            made, plan = validation.prepare_resume(session, new.resume, wish, now=utc_now())
        elif new.proposal_id is not None:
            made, plan = validation.prepare_proposal(session, new.proposal_id, wish, now=utc_now())
        else:
            made, plan = validation.prepare_ad_hoc(
                session, new.app or "", new.changes, wish, now=utc_now(), baseline_of=new.baseline_of
            )
        validation.enqueue_start(session, made.id)
        return Accepted(id=made.id, plan=plan)


@router.get("/{validation_id}")
def show(validation_id: int, _: Viewer, sessions: Db) -> ValidationDetail:
    """Read one run: its verdict, the comparison, the regressed cases with both answers."""
    with sessions() as session:
        return show_validation(session, validation_id)


@router.get("/{validation_id}/cases")
def cases(
    validation_id: int,
    _: Viewer,
    sessions: Db,
    outcome: CaseOutcome | None = None,
    *,
    arm: Annotated[str | None, Query(pattern="^(baseline|candidate)$")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[CaseRecord]:
    """List a run's executions."""
    with sessions() as session:
        return list_cases(session, validation_id, outcome=outcome, arm=arm, limit=limit, offset=offset)


@router.get("/{validation_id}/progress")
def how_far(validation_id: int, _: Viewer, sessions: Db) -> Progress:
    """Say how far a run is."""
    with sessions() as session:
        return progress(session, validation_id)


@router.post("/{validation_id}/cancel", status_code=204)
def cancel(validation_id: int, bearer: Reviewer, sessions: Db) -> None:
    """Stop a run."""
    with sessions.begin() as session:
        validation_end.cancel(session, validation_id, by=bearer.actor, now=utc_now())
