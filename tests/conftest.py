"""Real servers for the tests: one Postgres and one Redis a session, a database of its own for every test."""

from __future__ import annotations

import gc
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# No test reads the developer's own fleet or settings.
for name in [name for name in os.environ if name.startswith(("METAMON_", "LANGSMITH_", "LANGCHAIN_", "OPENAI_"))]:
    if not name.startswith("METAMON_TEST_"):  # those speak to the tests, not to what is tested
        del os.environ[name]
# What tests start would compile every module at every start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["METAMON_STATE"] = tempfile.mkdtemp(prefix="metamon-tests-")

import pytest
from redis import Redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from db.session import make_engine, make_sessions
from tests.databases import Databases
from workers.embedded.ports import free_port
from workers.embedded.postgres import Postgres
from workers.embedded.redis import EmbeddedRedis


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of the garbage collector's rounds: they cost a tenth of every test."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits longest: at the end it would keep one worker busy while the others have nothing to do.

    The workers keep to this order by `--no-loadscope-reorder`: by itself xdist begins with the files of most tests.
    """
    first = ("e2e", "browser", "chaos")
    folder = {item: item.path.parent.name for item in items}
    items.sort(key=lambda item: first.index(folder[item]) if folder[item] in first else len(first))


@contextmanager
def served(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for the length of a block, its output in a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A Postgres of the session."""
    folder = tmp_path_factory.mktemp("postgres")
    server = Postgres(folder, free_port())
    server.initialise()
    with served(server.command(durable=False), folder / "log"):
        server.wait_ready()
        yield server


@pytest.fixture(scope="session")
def databases(postgres: Postgres) -> Iterator[Databases]:
    """Its databases."""
    found = Databases(postgres)
    yield found
    found.close()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The URL of a fresh, migrated database."""
    with databases.fresh() as url:
        yield url


@pytest.fixture
def db_engine(database_url: str) -> Iterator[Engine]:
    """An engine on the test's own database, as the fleet has it."""
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(db_engine: Engine) -> sessionmaker[Session]:
    """A session factory on the test's own database; code under test commits freely."""
    return make_sessions(db_engine)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A Redis of the session."""
    folder = tmp_path_factory.mktemp("redis")
    server = EmbeddedRedis(folder, free_port())
    server.initialise()
    with served(server.command(), folder / "log"):
        server.wait_ready()
        yield server


@pytest.fixture
def redis_client(redis_server: EmbeddedRedis) -> Iterator[Redis]:
    """A client on an emptied Redis."""
    with Redis.from_url(redis_server.url()) as client:
        client.flushall()
        yield client
