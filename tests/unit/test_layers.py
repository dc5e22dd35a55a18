"""Each layering rule is broken once on purpose: a rule that nothing can break guards nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VIOLATIONS = {
    "One way down: who may know whom": ("core/against_the_rule.py", "import db.session"),
    "Only workers and tasks know Celery": ("agents/against_the_rule.py", "import celery"),
    "Arithmetic knows numpy and scipy alone": ("analysis/against_the_rule.py", "import pydantic"),
    "ORM models stay in db, agents, traces and notifications": ("targets/against_the_rule.py", "import db.models.apps"),
    "Nobody builds on the demo": ("llm/against_the_rule.py", "import demo.faults"),
}


@pytest.fixture
def copy_of_the_house(tmp_path: Path) -> Path:
    """A copy of our packages and of the rules."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    config = (ROOT / "pyproject.toml").read_text()
    for package in sorted(ROOT.iterdir()):
        if (package / "__init__.py").exists() and f'"{package.name}"' in config:
            shutil.copytree(
                package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__", "dist", "node_*")
            )
    return tmp_path


def report(house: Path) -> str:
    """Return what the linter says of the house."""
    linter = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(house), "COLUMNS": "200"}
    run = subprocess.run(
        [linter, "--no-cache"], cwd=house, capture_output=True, text=True, check=False, env=environment
    )
    assert "Contracts:" in run.stdout, run.stdout + run.stderr
    return run.stdout


def test_a_rule_that_is_broken_is_reported(copy_of_the_house: Path) -> None:
    """One import against each rule, each of them against no other; every rule is reported with its own offender."""
    for path, line in VIOLATIONS.values():
        (copy_of_the_house / path).write_text(f"{line}\n")
    said = report(copy_of_the_house)
    assert "0 kept, 5 broken" in said
    for path, line in VIOLATIONS.values():
        offender = path.removesuffix(".py").replace("/", ".")
        assert f"{offender} -> {line.removeprefix('import ')}" in said


def test_the_house_as_it_is_breaks_no_rule(copy_of_the_house: Path) -> None:
    """The control: what the other test finds is what it put there."""
    assert "5 kept, 0 broken" in report(copy_of_the_house)


def test_every_rule_is_broken_once_here() -> None:
    """A rule that is added gets its violation."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert set(VIOLATIONS) == {contract["name"] for contract in contracts}
