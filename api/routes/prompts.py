"""The prompts that the agents use, and where each comes from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from api.auth import Viewer
from core.errors import NotFoundError
from core.settings import settings
from db.queries.paging import Page
from llm.library import NAMES, find, hub

router = APIRouter(prefix="/prompts")


class PromptRecord(BaseModel):
    """One prompt."""

    name: str
    source: str
    """`local`, or the hub's version."""
    characters: int


class PromptDetail(PromptRecord):
    """One prompt with its text."""

    text: str


@router.get("")
def index(_: Viewer) -> Page[PromptRecord]:
    """List all prompts: there are few, and they are one page."""
    client = hub(settings())
    found = [find(name, client, settings().prompt_commits) for name in NAMES]
    return Page(
        items=[PromptRecord(name=each.name, source=each.source, characters=len(each.text)) for each in found],
        next_cursor=None,
    )


@router.get("/{name}")
def show(name: Annotated[str, Path(max_length=100)], _: Viewer) -> PromptDetail:
    """Return one prompt."""
    if name not in NAMES:
        raise NotFoundError(f"there is no such prompt; there is: {', '.join(NAMES)}")
    found = find(name, hub(settings()), settings().prompt_commits)
    return PromptDetail(name=found.name, source=found.source, characters=len(found.text), text=found.text)
