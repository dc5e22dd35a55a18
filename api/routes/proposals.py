"""Proposals: what research proposes, and a reviewer's decision about it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.auth import Db, Reviewer, Viewer
from api.paging import Cursor, Limit
from core.clock import utc_now
from core.states import ProposalStatus
from db.queries.paging import Page, page
from db.queries.proposals import ProposalDetail, ProposalRecord, list_proposals, show_proposal

router = APIRouter(prefix="/proposals")

ProposalId = Annotated[int, Path(ge=1, le=2**31 - 1)]


class Decision(BaseModel):
    """What a reviewer says."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=2000)
    change_hash: str = Field(max_length=200)
    """Of the change that was looked at; another by now is 409."""


class Rejection(BaseModel):
    """A rejection needs its reason."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2000)
    change_hash: str = Field(max_length=200)
    """Of the change that was looked at; another by now is 409."""


@router.get("")
def index(
    _: Viewer,
    sessions: Db,
    *,
    app: Annotated[str | None, Query(max_length=200)] = None,
    status: ProposalStatus | None = None,
    alert_id: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ProposalRecord]:
    """List proposals, newest first."""
    with sessions() as session:
        return page(
            lambda key, n: list_proposals(session, app=app, status=status, alert_id=alert_id, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda proposal: (proposal.id,),
        )


class ProposalReview(ProposalDetail):
    """One proposal with everything, and as a review to read."""

    review_html: str
    """The incident review as a fragment of HTML: escaped, without scripts or styles."""


@router.get("/{proposal_id}")
def show(proposal_id: ProposalId, _: Viewer, sessions: Db) -> ProposalReview:
    """Return one proposal with its evidence, what was ruled out, and what came of it."""
    from agents.research.review import as_html

    with sessions() as session:
        detail = show_proposal(session, proposal_id)
    return ProposalReview(**dict(detail), review_html=as_html(detail))


@router.post("/{proposal_id}/approve")
def approve(proposal_id: ProposalId, decision: Decision, bearer: Reviewer, sessions: Db) -> ProposalDetail:
    """Approve: the rollout starts. 409 where it is already decided, or not ready."""
    from agents.review import approve as decide

    with sessions.begin() as session:
        decide(
            session,
            proposal_id,
            by=bearer.actor,
            reason=decision.reason,
            change_hash=decision.change_hash,
            now=utc_now(),
        )
        session.flush()
        return show_proposal(session, proposal_id)


@router.post("/{proposal_id}/reject")
def reject(proposal_id: ProposalId, decision: Rejection, bearer: Reviewer, sessions: Db) -> ProposalDetail:
    """Reject for good. 409 where it is already decided."""
    from agents.review import reject as decide

    with sessions.begin() as session:
        decide(
            session,
            proposal_id,
            by=bearer.actor,
            reason=decision.reason,
            change_hash=decision.change_hash,
            now=utc_now(),
        )
        session.flush()
        return show_proposal(session, proposal_id)
