"""Tokens: made, listed, revoked by an admin."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.auth import Admin, Db
from api.paging import Cursor, Limit, SmallId
from core.clock import utc_now
from core.states import Scope
from db.queries.paging import Page, page
from db.queries.tokens import TokenRecord, list_tokens
from db.repositories import tokens

router = APIRouter(prefix="/tokens")


class NewToken(BaseModel):
    """What a token is for."""

    name: str = Field(min_length=1, max_length=100)
    scope: Scope


class MadeToken(BaseModel):
    """The token; nobody sees it again."""

    token: str


@router.get("")
def index(_: Admin, sessions: Db, cursor: Cursor = None, limit: Limit = 50) -> Page[TokenRecord]:
    """List tokens, newest first, without the tokens themselves."""
    with sessions() as session:
        return page(
            lambda key, n: list_tokens(session, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda token: (token.id,),
        )


@router.post("", status_code=201)
def create(new: NewToken, bearer: Admin, sessions: Db) -> MadeToken:
    """Make a token."""
    with sessions.begin() as session:
        return MadeToken(token=tokens.create(session, name=new.name, scope=new.scope, by=bearer.actor))


@router.delete("/{token_id}", status_code=204)
def revoke(token_id: SmallId, bearer: Admin, sessions: Db) -> None:
    """Revoke a token."""
    with sessions.begin() as session:
        tokens.revoke(session, token_id, by=bearer.actor, now=utc_now())
