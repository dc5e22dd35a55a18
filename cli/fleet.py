"""`metamon up`, `down` and `reset`: the embedded fleet. `status` and `doctor` have modules of their own."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import err, fail, out
from core.clock import utc_now

if TYPE_CHECKING:
    from workers.embedded.fleet import Plan
    from workers.embedded.folder import StateFolder

STOP_TIMEOUT_S = 25.0


def register(root: typer.Typer) -> None:
    """Add the fleet's commands to the root."""
    from cli.doctor import doctor
    from cli.pause import pause, unpause
    from cli.run import run
    from cli.status import status

    for command in (up, down, reset, status, doctor, pause, unpause, run):
        root.command()(command)


class Screen:
    """Tells a person how the start goes: progress on stderr, the addresses on stdout."""

    def __init__(self, stop: threading.Event, *, demo: bool) -> None:
        self.stop = stop
        self.demo = demo
        self.begun = time.monotonic()
        self.begun_at = utc_now()

    def ok(self, name: str, seconds: float, detail: str = "") -> None:
        """Say that something is up."""
        err.print(f"  [green]ok[/green]  {name:<22} {seconds:4.1f} s  [dim]{detail}[/dim]", highlight=False)

    def outside(self, name: str, url: str) -> None:
        """Say that something is not ours."""
        err.print(f"  --  {name:<22}         [dim]{url}, as configured[/dim]", highlight=False)

    def problem(self, message: str) -> None:
        """Say what is not up."""
        err.print(f"  !!  {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)

    def started(self, folder: StateFolder, plan: Plan) -> None:
        """Say where everything is, and follow the demo."""
        from cli.hints import command

        settings = plan.settings
        password = f"in {folder.flower_password}" if plan.generated_password else "as configured"
        lines = [
            f"\nThe fleet is up after {time.monotonic() - self.begun:.0f} s.",
            f"  API     {settings['public_url']}",
            f"  Flower  {settings['flower_url']}  user {settings['flower_user']}, password {password}",
            f"  Mail    {folder.mail if plan.smtp_port else 'goes out by the configured server'}",
            f"  Logs    {folder.logs}",
        ]
        if first := _first_admin():
            from db.repositories.users import FIRST_ADMIN

            lines.append(
                f"\nSign in as {FIRST_ADMIN} with the password {first}\n"
                f"It is shown this once; {command('users')} adds people and changes passwords."
            )
        if self.demo:
            lines.append(
                f"\nDemo cadence: a sweep every {settings['sweep_seconds']:g} s, buckets of "
                f"{settings['bucket_seconds']} s. The gates are the real ones."
            )
        lines.append(f"\nIn another shell: {command('status')}\nCtrl-C stops it all.")
        out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
        if self.demo:
            self._follow()

    def _follow(self) -> None:
        from cli.hints import command
        from db.session import session_factory
        from demo.timeline import follow

        out.print()
        follow(session_factory(), out, self.stop, command=command, since=self.begun_at)


def _first_admin() -> str | None:
    """Make somebody who can sign in where nobody can; return the password."""
    from cli.actor import actor
    from db.repositories import users
    from db.session import session_factory

    with session_factory().begin() as session:
        return users.first_admin(session, by=actor())


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="With the demo application, its traffic and its faults.")
    ] = False,
    auto_approve: Annotated[
        bool, typer.Option("--auto-approve", help="Approve high-impact proposals unattended.")
    ] = False,
) -> None:
    """Start the whole fleet and keep it alive until Ctrl-C: databases, API, beat, relay, workers, Flower.

    Postgres, Redis and SMTP are embedded where METAMON_DATABASE_URL, METAMON_REDIS_URL or METAMON_SMTP_URL is not set.

    Example: metamon up --demo
    """
    from core.settings import settings
    from workers.embedded.folder import StateFolder

    folder = StateFolder(settings().state)
    os.environ["METAMON_STATE"] = str(folder.path)
    with _disk_errors(folder):
        folder.prepare()
        folder.lock()
        try:
            if found := folder.stop_leftovers():
                err.print(
                    f"The fleet before this was killed; stopped what it left: {', '.join(found)}.", soft_wrap=True
                )
            settings.cache_clear()  # a killed fleet's file had its say in them
            _supervise(folder, demo=demo, auto_approve=auto_approve)
        finally:
            folder.unlock()


def _supervise(folder: StateFolder, *, demo: bool, auto_approve: bool) -> None:
    from core.settings import settings
    from workers.embedded.fleet import Fleet, make_plan

    stop, hurry = threading.Event(), threading.Event()

    def on_signal(_: int, __: FrameType | None) -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    err.print(f"Starting a fleet in {folder.path}", markup=False, highlight=False, soft_wrap=True)
    given = settings()
    plan = make_plan(folder, given, demo=demo, auto_approve=auto_approve)
    for name, wanted in {"api": given.api_port, "flower": given.flower_port}.items():
        if wanted not in (0, plan.settings[f"{name}_port"]):
            err.print(f"Port {wanted} is taken: {name} moves to {plan.settings[f'{name}_port']}.", highlight=False)
    fleet = Fleet(folder, plan, given, Screen(stop, demo=plan.settings["demo"]))
    settings.cache_clear()  # from here on `fleet.json` completes them
    fleet.run(stop, hurry)
    err.print("Stopped.")


@contextlib.contextmanager
def _disk_errors(folder: StateFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fail(f"the disk of {folder.path} is full: free some, or name a folder on another disk with --state", 4)
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
            fail(f"{folder.path} cannot be used ({error.strerror}): name a folder of yours with --state", 4)
        raise


def down() -> None:
    """Stop the fleet of this state folder, from any shell.

    Example: metamon down
    """
    from core.settings import settings
    from workers.embedded.folder import StateFolder

    folder = StateFolder(settings().state)
    record = folder.running()
    if record is None:
        err.print(f"No fleet runs from {folder.path}.", markup=False, highlight=False, soft_wrap=True)
        return
    os.kill(record.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while folder.alive(record):
        if time.monotonic() > deadline:
            fail(f"process {record.pid} did not stop within {STOP_TIMEOUT_S:.0f} s; its logs: {folder.logs}", 4)
        time.sleep(0.1)
    err.print("Stopped.")


def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the state folder: embedded databases, mail, logs. A database of yours is not touched.

    Example: metamon reset --yes
    """
    from core.settings import settings
    from workers.embedded.folder import StateFolder

    folder = StateFolder(settings().state)
    if not folder.path.exists():
        err.print(f"There is nothing in {folder.path}.", markup=False, highlight=False, soft_wrap=True)
        return
    if not folder.is_ours():
        fail(f"{folder.path} does not look like a fleet's folder: delete it by hand if you mean it", 2)
    if not yes:
        if not sys.stdin.isatty():
            fail("reset deletes everything the fleet knows: say --yes", 2)
        typer.confirm(f"Delete {folder.path} with all databases, mail and logs?", abort=True)
    with _disk_errors(folder):
        folder.lock()
        folder.stop_leftovers()
        folder.unlock()
        shutil.rmtree(folder.path)
    err.print(f"Deleted {folder.path}.", markup=False, highlight=False, soft_wrap=True)
