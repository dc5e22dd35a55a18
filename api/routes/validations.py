"""Validations: list them, read one with its cases, ask for one."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.validation import end as validation_end
from agents.validation import prepare
from agents.validation.plan import Plan
from agents.validation.start import enqueue_start
from api.auth import Db, Reviewer, Viewer
from api.paging import Cursor, Limit, SmallId
from core.clock import utc_now
from core.states import CaseOutcome
from db.queries.paging import Page, page
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

    proposal_id: int | None = Field(default=None, ge=1, le=2**31 - 1)
    app: str | None = Field(default=None, max_length=200)
    changes: dict[str, str | int | float | bool] = Field(default_factory=dict)
    repeats: int = Field(default=1, ge=1, le=20)
    smoke: int = Field(default=0, ge=0, le=10_000)
    golden_set: str | None = Field(default=None, max_length=100)
    budget_usd: float | None = Field(default=None, gt=0, le=1e6)
    budget_tokens: int | None = Field(default=None, gt=0, le=2**31 - 1)
    baseline_of: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Compare with the candidate of this run instead of with the configuration in force."""
    only_failed: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Run only the cases that went wrong in this run."""
    resume: int | None = Field(default=None, ge=1, le=2**31 - 1)
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
    app: Annotated[str | None, Query(max_length=200)] = None,
    proposal_id: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ValidationRecord]:
    """List runs, newest first."""
    with sessions() as session:
        return page(
            lambda key, n: list_validations(session, app=app, proposal_id=proposal_id, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda run: (run.id,),
        )


@router.post("", status_code=202)
def create(new: NewValidation, bearer: Reviewer, sessions: Db) -> Accepted:
    """Enqueue a run."""
    wish = prepare.Wish(
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
            made, plan = prepare.prepare_resume(session, new.resume, wish, now=utc_now())
        elif new.proposal_id is not None:
            made, plan = prepare.prepare_proposal(session, new.proposal_id, wish, now=utc_now())
        else:
            made, plan = prepare.prepare_ad_hoc(
                session, new.app or "", new.changes, wish, now=utc_now(), baseline_of=new.baseline_of
            )
        enqueue_start(session, made.id)
        return Accepted(id=made.id, plan=plan)


@router.get("/{validation_id}")
def show(validation_id: SmallId, _: Viewer, sessions: Db) -> ValidationDetail:
    """Read one run: its verdict, the comparison, the regressed cases with both answers."""
    with sessions() as session:
        return show_validation(session, validation_id)


@router.get("/{validation_id}/cases")
def cases(
    validation_id: SmallId,
    _: Viewer,
    sessions: Db,
    outcome: CaseOutcome | None = None,
    *,
    arm: Annotated[str | None, Query(pattern="^(baseline|candidate)$")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[CaseRecord]:
    """List a run's executions."""
    with sessions() as session:
        return page(
            lambda key, n: list_cases(session, validation_id, outcome=outcome, arm=arm, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda case: (case.case_id, case.repeat, case.arm),
            kinds=(int, int, str),
        )


@router.get("/{validation_id}/progress")
def how_far(validation_id: SmallId, _: Viewer, sessions: Db) -> Progress:
    """Say how far a run is."""
    with sessions() as session:
        return progress(session, validation_id)


@router.post("/{validation_id}/cancel", status_code=204)
def cancel(validation_id: SmallId, bearer: Reviewer, sessions: Db) -> None:
    """Stop a run."""
    with sessions.begin() as session:
        validation_end.cancel(session, validation_id, by=bearer.actor, now=utc_now())
