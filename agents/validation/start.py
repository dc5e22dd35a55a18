"""Setting a prepared run going: chunk after chunk, as many at once as the app allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from agents import review
from agents.change import Change, RefusedChangeError
from agents.validation.finish import is_disaster, leave_open, supersede_done
from agents.validation.plan import pace
from agents.validation.prepare import Wish, prepare_proposal
from core.errors import MetamonError
from core.states import PROPOSAL, VALIDATION, ProposalStatus, ValidationState
from db.models.apps import App
from db.models.validation import ValidationResult
from db.repositories import jobs, validations
from db.repositories.jobs import Claim
from targets.spec import parse_target

log = structlog.get_logger(__name__)

PATIENCE = timedelta(minutes=10)
"""How long over its estimate a run may take before it is judged by what there is."""


def enqueue_start(session: Session, validation_id: int) -> None:
    """Enqueue the start of a prepared run."""
    jobs.enqueue(
        session,
        key=f"validate:run:{validation_id}",
        kind="validation.start",
        args={"validation_id": validation_id},
    )


def start_proposal(
    session: Session, proposal_id: int, *, seed: int, now: datetime, parent: Claim | None = None
) -> int | None:
    """Start the validation of a proposal; where it cannot be validated, say so on it and try the next one.

    Returns:
        The run's id, or None where nothing runs.
    """
    proposal = validations.lock_proposal(session, proposal_id)
    if ProposalStatus.VALIDATING not in PROPOSAL.table[proposal.status]:
        log.info("validation.not_wanted", proposal_id=proposal_id, status=proposal.status)
        return None
    app = session.get_one(App, proposal.app_id)
    change = Change.model_validate(proposal.change)
    if change.applies_itself and app.config.get(change.key, math.nan) == change.to:
        supersede_done(session, proposal, change, now)
        return None
    try:
        validation, _ = prepare_proposal(session, proposal_id, Wish("policy:validation", seed), now=now)
    except RefusedChangeError as error:
        review.reject(session, proposal_id, by="policy:allowed-keys", reason=str(error), now=now, parent=parent)
        review.try_next(session, proposal, parent=parent)
        return None
    except MetamonError as error:
        proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.VALIDATING)
        leave_open(session, proposal, f"not validated: {error}", now=now, parent=parent)
        return None
    launch(session, validation.id, now=now, parent=parent)
    return validation.id


def launch(session: Session, validation_id: int, *, now: datetime, parent: Claim | None = None) -> None:
    """Set a prepared run going: a job per chunk, and one that judges in any case if chunks get lost for good."""
    validation = validations.lock(session, validation_id)
    if validation.state is not ValidationState.QUEUED:
        return
    validation.state = VALIDATION.check(validation.state, ValidationState.RUNNING)
    validation.started_at = now
    spec = parse_target(validation.target)
    _send(session, validation, 1 if validation.smoke else pace(spec.concurrency).window, parent=parent)
    longest = timedelta(seconds=validation.total * spec.timeout_s)
    jobs.enqueue(
        session,
        key=f"deadline:{validation_id}",
        kind="validation.finish",
        args={"validation_id": validation_id},
        run_at=now + longest + PATIENCE,
        parent=parent,
    )


def _send(session: Session, validation: ValidationResult, count: int, *, parent: Claim | None) -> None:
    """Send so many more chunks on their way: no more are under way at once than the app allows."""
    for chunk in range(validation.launched, min(validation.launched + count, validation.chunks)):
        jobs.enqueue(
            session,
            key=f"chunk:{validation.id}:{chunk}",
            kind="validation.run_chunk",
            args={"validation_id": validation.id, "chunk": chunk},
            parent=parent,
        )
        validation.launched = chunk + 1


def chunk_finished(
    session: Session, validation_id: int, chunk: int, *, case_ids: Sequence[int], parent: Claim | None = None
) -> None:
    """Count a chunk down, in its finishing transaction; send the next one. The last one enqueues the verdict.

    Args:
        case_ids: the chunk's cases; none where it was not run.

    So does a smoke sample that shows a disaster, while a harmless one lets the rest run; and a chunk that could not ask
    the target a single time in all its attempts: the rest would wait as long for nothing, and can be resumed.
    """
    validation = validations.lock(session, validation_id)
    if validation.state is not ValidationState.RUNNING:
        return
    validation.remaining -= 1
    window = pace(parse_target(validation.target).concurrency).window
    over = validation.remaining == 0 or validations.none_asked(session, validation_id, case_ids)
    if validation.smoke and chunk == 0 and not over:
        over = is_disaster(session, validation)
        if not over:
            _send(session, validation, window, parent=parent)
    elif not over:
        _send(session, validation, 1, parent=parent)
    if over:
        jobs.enqueue(
            session,
            key=f"finish:{validation_id}",
            kind="validation.finish",
            args={"validation_id": validation_id},
            parent=parent,
        )
