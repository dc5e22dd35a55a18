"""The HTTP side: the admin API, the collector that apps trace to, and the flags that they ask for."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker
from starlette.exceptions import HTTPException

from agents.review import ChangedProposalError, ReviewConflictError
from api import pages
from api.bodies import CappedBodies
from api.conditional import ConditionalAnswers
from api.schema import describe
from api.stream import Hub
from core.errors import ForbiddenTransitionError, MetamonError, NotFoundError, UnavailableError
from core.logging import configure_logging
from core.settings import settings
from db.session import engine

ADMIN_ROUTES = (
    "alerts", "apps", "errors", "evaluations", "events", "golden", "impact", "jobs", "mail", "metrics_series",
    "overview", "pause", "prompts", "proposals", "research", "rollouts", "session", "status", "tokens",
    "users", "validations",
)  # fmt: skip


def create_app(sessions: sessionmaker[Session] | None = None) -> FastAPI:
    """Return the application.

    Args:
        sessions: the database; the process' own where None.
    """
    configure_logging(settings().log_level)
    app = FastAPI(
        title="metamon",
        version=version("metamon"),
        summary="Meta-monitoring and continuous improvement for LLM applications",
        openapi_url="/api/openapi.json",
        docs_url="/api/docs",
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.sessions = sessions
    app.state.bearers = {}
    app.state.live = {}
    app.state.hub = Hub(lambda: engine_of(sessions))
    app.add_middleware(CappedBodies)  # first, so innermost: what it raises must reach the routes as it is
    _mount(app)
    app.add_middleware(ConditionalAnswers)
    describe(app)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _invalid_problem)
    app.add_exception_handler(MetamonError, _metamon_problem)
    app.add_exception_handler(DBAPIError, _database_problem)
    app.add_exception_handler(PoolTimeoutError, _database_busy)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await app.state.hub.close()


def engine_of(sessions: sessionmaker[Session] | None) -> Engine:
    """Return the database behind a session factory; the process' own where None."""
    bound = engine() if sessions is None else sessions.kw["bind"]
    assert isinstance(bound, Engine)
    return bound


def _mount(app: FastAPI) -> None:
    from api import watch
    from api.routes import collector, flags, health, unsubscribe

    app.include_router(watch.router)
    app.include_router(health.router)
    app.include_router(unsubscribe.router)
    admin = APIRouter(prefix="/api/v1")
    for name in ADMIN_ROUTES:
        admin.include_router(importlib.import_module(f"api.routes.{name}").router, tags=[name])
    app.include_router(admin)
    app.include_router(flags.router, prefix="/ofrep/v1", tags=["flags"])
    # The SDK's hand-written client calls the endpoint it was given, the generated one calls <root>/api/v2.
    app.include_router(collector.router_v1, prefix="/api/v1", tags=["collector"])
    app.include_router(collector.router_v2, prefix="/api/v2", tags=["collector"])
    app.include_router(collector.router_v1, tags=["collector"], include_in_schema=False)
    pages.mount(app)  # last: it takes what nobody else has


def problem(status: int, title: str, **more: object) -> JSONResponse:
    """Return an error in the form of RFC 9457."""
    return JSONResponse(
        {"type": "about:blank", "status": status, "title": title, "detail": title, **more},
        status_code=status,
        media_type="application/problem+json",
    )


async def _http_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    response = problem(error.status_code, str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _invalid_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # What was sent is not sent back: it may be a secret or a megabyte.
    errors = [{"where": list(item["loc"]), "what": item["msg"]} for item in error.errors()]
    first = errors[0] if errors else {"where": [], "what": "the request is not valid"}
    where = ".".join(str(part) for part in first["where"])
    return problem(422, f"{where}: {first['what']}", errors=errors)


async def _metamon_problem(_: Request, error: Exception) -> JSONResponse:
    status = 400
    if isinstance(error, NotFoundError):
        status = 404
    elif isinstance(error, ForbiddenTransitionError | ChangedProposalError):
        status = 409
    elif isinstance(error, UnavailableError):
        status = 503
    if isinstance(error, ReviewConflictError):
        at = error.reviewed_at.isoformat() if error.reviewed_at else None
        return problem(409, str(error), decided_by=error.reviewed_by, decided_at=at, decision=error.decision)
    return problem(status, str(error))


async def _database_problem(_: Request, error: Exception) -> JSONResponse:
    # The statement and its parameters stay in the log.
    assert isinstance(error, DBAPIError)
    if isinstance(error, DataError):
        return problem(422, "a value is too large, or holds a character that no text may hold")
    if error.connection_invalidated or type(error).__name__ in ("OperationalError", "InterfaceError"):
        return _again("the database is away; try again in a moment")
    raise error


async def _database_busy(_: Request, error: Exception) -> JSONResponse:
    # All connections of this process were taken for as long as one waits for them.
    return _again("the database is busy; try again in a moment")


def _again(title: str) -> JSONResponse:
    response = problem(503, title)
    response.headers["Retry-After"] = "2"
    return response
