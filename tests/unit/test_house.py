"""The rules that hold the house together."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from beat_schedule import BEAT_SCHEDULE
from cli.main import take_state_option
from core import states
from core.errors import ForbiddenTransitionError
from core.transitions import Transitions
from workers.queues import QUEUES, TASK_MODULES

ROOT = Path(__file__).parents[2]
OURS = {
    "agents", "analysis", "api", "beat_schedule", "cli", "core", "db", "demo", "llm", "notifications",
    "targets", "tasks", "traces", "workers",
}  # fmt: skip


def registered() -> set[str]:
    """Import every task module and return the names of our tasks."""
    from workers.app import app

    for module in TASK_MODULES:
        importlib.import_module(module)
    return {name for name in app.tasks if name.partition(".")[0] in QUEUES}


def test_no_installed_distribution_bears_one_of_our_names() -> None:
    """Our packages have generic names; a dependency with the same one would shadow or be shadowed."""
    bearers = importlib.metadata.packages_distributions()
    strangers = {name: owners for name, owners in bearers.items() if name in OURS and set(owners) != {"metamon"}}
    assert strangers == {}


def test_agents_is_an_empty_package_without_tracing() -> None:
    """The SDK's wrappers import `agents.tracing` where a package of that name has one."""
    assert (ROOT / "agents" / "__init__.py").read_text() == ""
    assert not list((ROOT / "agents").glob("tracing*"))


def test_every_schedule_entry_names_a_registered_task() -> None:
    """Task names are strings in the schedule alone; each must resolve."""
    assert {entry["task"] for entry in BEAT_SCHEDULE.values()} <= registered()


def test_every_kind_that_code_enqueues_is_a_registered_task() -> None:
    """A job whose kind nobody serves would wait for ever."""
    kinds = set()
    for package in ("agents", "tasks", "workers", "db", "notifications", "api", "cli", "demo", "traces"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "kind" and isinstance(node.value, ast.Constant):
                    value = node.value.value
                    if isinstance(value, str) and value.partition(".")[0] in QUEUES and "." in value:
                        kinds.add(value)
    assert kinds, "no kinds found: the search is broken"
    assert kinds <= registered()


def test_every_task_is_claimed_before_it_works() -> None:
    """Delivered twice, late or after its end it must find nothing to do: that is the runner's, for all alike."""
    from workers.app import app

    ours = [app.tasks[name] for name in registered()]
    assert len(ours) >= 15
    assert [task.name for task in ours if not hasattr(task, "handler")] == []


def test_every_queue_has_its_module() -> None:
    """One thin module per queue."""
    assert {path.stem for path in (ROOT / "tasks").glob("*.py")} - {"__init__"} == set(QUEUES)
    assert tuple(f"tasks.{name}" for name in QUEUES) == TASK_MODULES


TABLES = [value for value in vars(states).values() if isinstance(value, Transitions)]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.subject)
def test_a_table_covers_every_state_and_refuses_what_it_does_not_list(table: Transitions[Any]) -> None:
    """Every state has its row, and a move that no row lists raises and names what is allowed."""
    enum: type[StrEnum] = type(next(iter(table.table)))
    assert set(table.table) == set(enum)
    for current, allowed in table.table.items():
        for target in enum:
            if target in allowed:
                assert table.check(current, target) is target
            else:
                with pytest.raises(ForbiddenTransitionError, match=f"{current}.*cannot become.*{target}"):
                    table.check(current, target)


def test_every_state_table_has_a_way_out() -> None:
    """No state but a final one is a trap, and something is final (or revivable) in every table."""
    assert len(TABLES) >= 6
    for table in TABLES:
        for state, allowed in table.table.items():
            assert allowed - {state} or state in table.final, (table.subject, state)


def test_no_command_has_an_option_that_the_whole_line_claims() -> None:
    """`--state` names the fleet wherever it stands: an option of this name would never see its value."""
    assert "--state" in inspect.getsource(take_state_option)
    claimed = [
        path.name
        for path in (ROOT / "cli").glob("*.py")
        if re.search(r"^    state: Annotated\[.*typer\.Option\((?!\"--)", path.read_text(), re.MULTILINE)
    ]
    assert claimed == []
