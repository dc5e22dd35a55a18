"""`metamon db sql`: what somebody who migrates by psql is given."""

from __future__ import annotations

import pytest

from core.errors import NotFoundError
from db.migrate import sql

EARLIER = "20261126_people"
"""A revision in the middle."""


def test_an_upgrade_from_a_revision_is_the_rest_of_the_whole() -> None:
    """Whoever applied the first part is given exactly what is missing, in a transaction that gives up on a lock."""
    head, step, rest = sql(EARLIER).partition(f"-- Running upgrade {EARLIER} ->")
    assert head.split() == ["BEGIN;", "SET", "LOCAL", "lock_timeout", "=", "5000;"]
    assert sql().startswith(head)
    assert sql().endswith(step + rest)
    assert rest.strip().endswith("COMMIT;")


def test_an_unknown_revision_is_told_with_the_known_ones() -> None:
    """A typo must not print a script that starts anywhere."""
    with pytest.raises(NotFoundError, match=r"no revision 'nope'; there are, newest first: .*20261126_first"):
        sql("nope")
