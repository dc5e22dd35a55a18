"""The state folder: one fleet at a time, and what a killed one left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from core.errors import MetamonError
from core.settings import Settings
from workers.embedded.folder import DiskFullError, FleetRunsError, ServiceRecord, StateFolder

NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """A prepared folder with a space in its path."""
    made = StateFolder(tmp_path / "a state")
    made.prepare()
    return made


def test_a_second_fleet_in_one_folder_is_refused(folder: StateFolder) -> None:
    """Two Postgres on one data directory would be the end of it."""
    folder.lock()
    with pytest.raises(FleetRunsError, match=r"already.*--state"):
        StateFolder(folder.path).lock()
    folder.unlock()
    StateFolder(folder.path).lock()


def test_the_lock_of_a_killed_fleet_is_free(folder: StateFolder) -> None:
    """There is no stale lock to delete by hand."""
    script = (
        "import pathlib, sys, time\n"
        "from workers.embedded.folder import StateFolder\n"
        "folder = StateFolder(pathlib.Path(sys.argv[1]))\n"
        "folder.lock()\n"
        "print('locked', flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(FleetRunsError):
            folder.lock()
        holder.kill()
    folder.lock()


def test_what_a_killed_fleet_left_is_stopped(folder: StateFolder) -> None:
    """The next `up` finds the ports and the data directory free."""
    left = subprocess.Popen(["sleep", "600"], start_new_session=True)
    created = psutil.Process(left.pid).create_time()
    folder.write({}, NOW, [ServiceRecord(name="postgres", state="ok", pid=left.pid, created=created)])
    assert folder.stop_leftovers() == ["postgres"]
    assert left.wait(5) < 0
    assert folder.read() is None


def test_a_process_that_only_bears_the_same_number_is_left_alone(folder: StateFolder) -> None:
    """Process ids are used again: the creation time tells whose it is."""
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        folder.write({}, NOW, [ServiceRecord(name="postgres", state="ok", pid=stranger.pid, created=1.0)])
        assert folder.stop_leftovers() == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_postgres_lock_of_a_stranger_is_removed(folder: StateFolder) -> None:
    """After a reboot the id in postmaster.pid may be anybody's, and Postgres would refuse to start for ever."""
    data = folder.path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n")
    folder.stop_leftovers()
    assert not (data / "postmaster.pid").exists()


def test_other_processes_find_the_fleet_by_its_file(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any command in another shell knows the database without being told; the file is the user's alone."""
    monkeypatch.setenv("METAMON_STATE", str(folder.path))
    folder.write({"database_url": "postgresql://u:p@127.0.0.1:1/d", "sweep_seconds": 3}, NOW, [])
    assert folder.file.stat().st_mode & 0o777 == 0o600
    values = Settings()
    assert values.database_url is not None
    assert values.database_url.get_secret_value() == "postgresql://u:p@127.0.0.1:1/d"
    assert values.sweep_seconds == 3


@pytest.mark.parametrize("content", ['{"settings": {"data', "", "[]", '{"settings": 1}', "\xff"])
def test_half_a_file_is_no_fleet(folder: StateFolder, content: str) -> None:
    """A disk that filled up while it was written must not break every command."""
    folder.file.write_bytes(content.encode("latin-1"))
    assert folder.running() is None
    assert Settings(state=folder.path).database_url is None


def test_the_folder_of_another_user_is_told_where_it_is_needed(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has a database elsewhere needs no folder at all."""

    def refuse(_: Path) -> bytes:
        raise PermissionError  # root, as which tests may run, is refused nothing

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(MetamonError, match=r"belongs to another user.*--state"):
        Settings(state=folder.path)
    assert Settings(state=folder.path, database_url=SecretStr("postgresql://a@b/c")).database_url


def test_a_full_disk_is_told_before_anything_is_started(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how much is missing and what to do."""
    usage = namedtuple("usage", "total used free")  # what shutil returns
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 5_000_000))
    with pytest.raises(DiskFullError, match=r"only 5 MB are free.*--state"):
        folder.prepare()
