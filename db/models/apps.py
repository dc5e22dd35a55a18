"""The monitored apps, the tracing projects their runs arrive in, and how far each source was read."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Created, Id, Json


class App(Base):
    """One monitored LLM application."""

    __tablename__ = "apps"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)
    source: Mapped[str] = mapped_column(server_default="embedded")
    """`embedded` (our collector) or `langsmith` (the cloud is polled)."""
    project: Mapped[str]
    """Name of the tracing project whose root runs count as this app's traffic."""
    sla_ms: Mapped[int]
    objectives: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """Thresholds that differ from the defaults, by name."""
    notify: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    """Recipients' addresses."""
    timezone: Mapped[str] = mapped_column(server_default="UTC")
    target: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """How a candidate is run: see `targets`."""
    config: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """The baseline configuration that flags serve: parameters, routes, prompt versions, by dotted key."""
    allowed: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """Which keys a proposal may change, with type and range. A key that is missing here is refused."""
    policy: Mapped[list[Json]] = mapped_column(server_default=text("'[]'"))
    """Rules that approve what passed validation, or ask a person: see `agents.approval`. Empty for the default."""
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[Created]


class Project(Base):
    """A tracing project ("session" in LangSmith's protocol). Ingest by name creates it."""

    __tablename__ = "projects"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str | None]
    reference_dataset_id: Mapped[UUID | None]
    """Set for an experiment: such a project is never monitored."""
    extra: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    start_time: Mapped[Created]
    end_time: Mapped[datetime | None]


class Watermark(Base):
    """How far something was read or judged, by name. Moves in the transaction of what it stands for."""

    __tablename__ = "watermarks"

    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    state: Mapped[Json] = mapped_column(server_default=text("'{}'"))
