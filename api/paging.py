"""The parameters that every list takes, and ids as the database has them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

SmallId = Annotated[int, Path(ge=1, le=2**31 - 1)]
Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before this.")]
Limit = Annotated[int, Query(ge=1, le=500, description="At most so many.")]
