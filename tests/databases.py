"""A fresh, migrated database for every test, without copying one for every test.

To copy the template and to drop the copy costs a fifth of a second of processor time, to empty what a test filled two
milliseconds. So a database is emptied and handed out again, under another name: whoever still knows the old one, a
thread that outlived its test say, finds nothing there.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from db.migrate import upgrade
from db.session import engine_url
from workers.embedded.postgres import Postgres

TEMPLATE = "template_metamon"

EMPTY = """
DO $$
DECLARE
    found record;
    days text;
BEGIN
    SELECT string_agg(oid::regclass::text, ', ') INTO days FROM pg_class
    WHERE relispartition AND relkind = 'r' AND oid > %s;  -- a copy keeps the numbers of its template
    IF days IS NOT NULL THEN
        EXECUTE 'DROP TABLE ' || days;
    END IF;
    SET LOCAL session_replication_role = replica;  -- neither foreign keys nor our own triggers
    FOR found IN
        SELECT oid::regclass AS name, pg_relation_size(oid) AS bytes FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
    LOOP
        IF found.bytes > 1000000 THEN
            EXECUTE 'TRUNCATE ' || found.name || ' CASCADE';  -- dead rows would slow the tests that follow
        ELSIF found.bytes > 0 THEN
            EXECUTE 'DELETE FROM ' || found.name;
        END IF;
    END LOOP;
    PERFORM setval(quote_ident(schemaname) || '.' || quote_ident(sequencename), start_value, false)
    FROM pg_sequences WHERE last_value IS NOT NULL;
END $$
"""
"""Leaves what a migration leaves: no rows, no partition of a day, and every number begins at its first."""

SHAPE = """
SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_attribute WHERE NOT attisdropped),
       (SELECT count(*) FROM pg_constraint), (SELECT count(*) FROM pg_trigger), (SELECT count(*) FROM pg_proc)
"""


class Databases:
    """The databases of one server."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        server.create_database(TEMPLATE)
        engine = create_engine(engine_url(server.url(TEMPLATE)), poolclass=NullPool)
        upgrade(engine)
        with psycopg.connect(server.url(TEMPLATE)) as connection:
            self._shape = connection.execute(SHAPE).fetchone()
            last = connection.execute("SELECT max(oid)::bigint FROM pg_class").fetchone()
            assert last is not None
            self._empty = (EMPTY % last).encode()
        self._admin = psycopg.connect(server.url("postgres"), autocommit=True)
        self._spare: list[str] = []

    def close(self) -> None:
        """Let the server go."""
        self._admin.close()

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """Lend a database that is as a migration leaves it; the value is its URL."""
        name = self._spare.pop() if self._spare else self._copy()
        try:
            yield self.server.url(name)
        finally:
            self._take_back(name)

    def _copy(self) -> str:
        name = _name()
        self.server.create_database(name, template=TEMPLATE)
        return name

    def _take_back(self, name: str) -> None:
        again = _name()
        try:
            self._admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            self._admin.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(again))
            )
        except psycopg.errors.ObjectInUse:  # somebody came back in between
            self._drop(name)
            return
        with psycopg.connect(self.server.url(again), autocommit=True) as connection:
            connection.execute(self._empty)
            same = connection.execute(SHAPE).fetchone() == self._shape
        if same:
            self._spare.append(again)
        else:  # the test changed more than rows
            self._drop(again)

    def _drop(self, name: str) -> None:
        self._admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _name() -> str:
    return f"test_{uuid.uuid4().hex[:12]}"
