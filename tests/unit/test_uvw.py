"""The bootstrap script, with stand-ins for uv, Python and pip: no network."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from workers.embedded import bytecode

SCRIPT = Path(__file__).parents[2] / "uvw"
TOOLS = ("sh", "dirname", "rm", "mv", "mkdir", "cat", "chmod")

UV = '#!/bin/sh\n[ "$1" != python ] || exit 2\necho "uv $* in $(pwd) by $METAMON_UVW"\n'
PIP = """#!/bin/sh
case "$*" in
*--version*) exit {has_pip} ;;
esac
echo install >> "{log}"
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/bin"
cat > "$2/bin/uv" <<'END'
{uv}END
chmod +x "$2/bin/uv"
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with a space in its path, and a PATH of its own beside it."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    shutil.copy(SCRIPT, folder / "uvw")
    (folder / ".venv").mkdir()
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (tmp_path / "bin" / tool).symlink_to(found)
    return folder


def put(clone: Path, name: str, content: str) -> None:
    """Put a program on the clone's PATH."""
    path = clone.parent / "bin" / name
    path.write_text(content)
    path.chmod(0o755)


def run(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script from another folder."""
    return subprocess.run(
        [clone / "uvw", *arguments], cwd=clone.parent, env={"PATH": str(clone.parent / "bin")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_first_time_the_environment_is_made_with_its_bytecode(clone: Path) -> None:
    """A dozen processes would compile the same modules at the same moment otherwise."""
    put(clone, "uv", UV)
    assert len(run(clone, "run", "x").stdout.splitlines()) == 1
    (clone / ".venv").rmdir()
    first = run(clone, "run", "x").stdout.splitlines()
    assert [line.partition(" in ")[0] for line in first] == [
        "uv sync --locked", "uv run --no-sync python -m workers.embedded.bytecode", "uv run x",
    ]  # fmt: skip


def test_whoever_runs_the_product_is_spared_what_it_is_tested_with(clone: Path) -> None:
    """A browser driver, a type checker and a fuzzer are a hundred megabytes."""
    put(clone, "uv", UV.replace("$METAMON_UVW", "$UV_NO_DEV"))
    assert run(clone, "run", "metamon", "up").stdout.endswith(" by 1\n")
    assert run(clone, "run", "pytest").stdout.endswith(" by \n")


def test_what_is_compiled_is_there() -> None:
    """A module that was renamed would go back to being compiled a dozen times."""
    assert [name for name in bytecode.MODULES if importlib.util.find_spec(name) is None] == []


def test_of_several_pythons_one_is_taken_that_has_a_redis(clone: Path) -> None:
    """The newest may be the first on the PATH; PyPI has no Redis for it."""
    (clone / ".venv").rmdir()
    put(clone, "uv", UV.replace("exit 2", "{ echo '/opt/a python'; exit; }"))
    made = run(clone, "run", "x").stdout.splitlines()[0]
    assert made.startswith("uv sync --locked --python /opt/a python in ")


def test_it_is_executable() -> None:
    """The README's two lines begin with it."""
    assert SCRIPT.stat().st_mode & 0o111 == 0o111


def test_the_uv_that_is_there_is_used_in_the_clones_folder(clone: Path) -> None:
    """Arguments go through untouched; hints learn how the user calls it."""
    put(clone, "uv", UV)
    done = run(clone, "run", "metamon", "up")
    assert done.stdout == f"uv run metamon up in {clone} by {clone}/uvw\n"


def test_a_missing_uv_is_installed_once(clone: Path) -> None:
    """A shim that stands for nothing counts as missing; the second run installs nothing."""
    log = clone.parent / "log"
    put(clone, "uv", "#!/bin/sh\nexit 127\n")
    put(clone, "python3", PIP.format(has_pip=0, log=log, uv=UV))
    for _ in range(2):
        done = run(clone, "sync")
        assert (done.returncode, done.stdout) == (0, f"uv sync in {clone} by {clone}/uvw\n"), done.stderr
    assert log.read_text() == "install\n"
    assert sorted(path.name for path in clone.iterdir()) == [".uv", ".venv", "uvw"]


def test_a_failed_installation_leaves_nothing_behind(clone: Path) -> None:
    """The next run tries again."""
    put(clone, "python3", '#!/bin/sh\ncase "$*" in *--version*) exit 0 ;; esac\nexit 1\n')
    done = run(clone, "sync")
    assert done.returncode == 1
    assert "pip could not install uv" in done.stderr
    assert sorted(path.name for path in clone.iterdir()) == [".venv", "uvw"]


def test_a_python_without_pip_is_told_what_to_install(clone: Path) -> None:
    """Debian splits pip off."""
    put(clone, "python3", PIP.format(has_pip=1, log="/dev/null", uv=UV))
    done = run(clone, "sync")
    assert done.returncode == 1
    assert "has no pip; install it" in done.stderr


def test_no_python_at_all_is_told_too(clone: Path) -> None:
    """The one thing that must be there."""
    done = run(clone, "sync")
    assert done.returncode == 1
    assert "there is no python3 here" in done.stderr
