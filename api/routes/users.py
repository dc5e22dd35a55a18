"""Users: listed, made and changed by an admin."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from api.auth import Admin, Db
from api.paging import Cursor, Limit
from core.clock import utc_now
from core.states import Scope
from db.queries.paging import Page, page
from db.queries.users import UserRecord, list_users, show_user
from db.repositories import users
from db.repositories.users import DuplicateUserError, LastAdminError

router = APIRouter(prefix="/users")


class NewUser(BaseModel):
    """Who shall be able to sign in."""

    model_config = ConfigDict(extra="forbid")

    email: str = Field(max_length=320)
    role: Scope
    password: SecretStr = Field(min_length=users.SHORTEST, max_length=users.LONGEST)
    time_zone: str = Field(default="UTC", max_length=100)


class ChangedUser(BaseModel):
    """What shall be otherwise."""

    model_config = ConfigDict(extra="forbid")

    role: Scope | None = None
    password: SecretStr | None = Field(default=None, min_length=users.SHORTEST, max_length=users.LONGEST)
    time_zone: str | None = Field(default=None, max_length=100)
    disabled: bool | None = None


@router.get("")
def index(_: Admin, sessions: Db, cursor: Cursor = None, limit: Limit = 50) -> Page[UserRecord]:
    """List users."""
    with sessions() as session:
        return page(
            lambda key, n: list_users(session, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda user: (user.id,),
        )


@router.post("", status_code=201)
def create(new: NewUser, caller: Admin, sessions: Db) -> UserRecord:
    """Add a user; 409 where the address is taken."""
    try:
        with sessions.begin() as session:
            made = users.create(
                session,
                email=new.email,
                role=new.role,
                password=new.password.get_secret_value(),
                time_zone=new.time_zone,
                by=caller.actor,
            )
            return show_user(session, made)
    except DuplicateUserError as error:
        raise HTTPException(409, str(error)) from None


@router.patch("/{user_id}")
def change(
    user_id: Annotated[int, Path(ge=1, le=2**31 - 1)], changed: ChangedUser, caller: Admin, sessions: Db
) -> UserRecord:
    """Set role, password, time zone, or disable. A new password and being disabled end the user's sessions."""
    try:
        with sessions.begin() as session:
            users.change(
                session,
                user_id,
                role=changed.role,
                password=changed.password.get_secret_value() if changed.password else None,
                time_zone=changed.time_zone,
                disabled=changed.disabled,
                by=caller.actor,
                now=utc_now(),
            )
            session.flush()
            return show_user(session, user_id)
    except LastAdminError as error:
        raise HTTPException(409, str(error)) from None
