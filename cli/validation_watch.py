"""Following a run: a live line on a terminal, one line per 10 % elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from cli.output import err
from core.states import ValidationState
from db.queries.validations import Progress, progress
from db.session import Sessions

POLL_S = 0.4
OVER = (ValidationState.FINISHED, ValidationState.CANCELLED, ValidationState.STOPPED)


class TimedOut(Exception):  # noqa: N818 - it ends a wait, nothing is wrong
    """The run was not over in time."""


def follow(
    sessions: Sessions,
    validation_id: int,
    *,
    timeout_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Print progress on stderr until the run is over.

    Raises:
        TimedOut: it was not over within `timeout_s` seconds.
        NotFoundError: there is no such run.
    """
    started = clock()
    shown, printed = -1, ""
    live = err.is_terminal
    first_done: int | None = None
    while True:
        with sessions() as session:
            state = progress(session, validation_id)
        first_done = state.done if first_done is None else first_done
        line = progress_line(state, elapsed_s=clock() - started, since=first_done)
        over = state.state in OVER
        tenth = 10 * state.done // max(state.total, 1)
        if live:
            if line != printed:
                # Cleared to the end of the line: a shorter one must not leave the tail of a longer one.
                err.file.write(f"\r{line}\x1b[K")
                err.file.flush()
                printed = line
        elif tenth > shown or over:
            err.print(line, markup=False, highlight=False)
            shown = tenth
        if over:
            if live:
                err.file.write("\n")
            return
        if timeout_s is not None and clock() - started > timeout_s:
            if live:
                err.file.write("\n")
            raise TimedOut
        sleep(POLL_S)


def progress_line(state: Progress, *, elapsed_s: float, since: int) -> str:
    """Return `126/200 ok 117 failed 6 regressed 3 judge_err 2 $0.81 ETA 1m40`.

    Args:
        elapsed_s: how long we have watched.
        since: executions that were done when we began to.
    """
    parts = [f"{state.done}/{state.total} ok {state.ok} failed {state.failed}"]
    if state.regressed:
        parts.append(f"regressed {state.regressed}")
    if state.judge_errors:
        parts.append(f"judge_err {state.judge_errors}")
    if state.not_run:
        parts.append(f"not_run {state.not_run}")
    if state.spent_usd:
        parts.append(f"${state.spent_usd:.2f}")
    rate = (state.done - since) / elapsed_s if elapsed_s > 0 else 0.0
    if state.state is ValidationState.QUEUED:
        parts.append("waiting for a worker")
    elif state.state is ValidationState.CANCELLED:
        parts.append("cancelled")
    elif state.state is ValidationState.STOPPED:
        parts.append("stopped: the budget is spent")
    elif state.verdict is not None:
        parts.append(state.verdict.value)
    elif rate > 0:
        left = int((state.total - state.done) / rate)
        parts.append(f"ETA {left // 60}m{left % 60:02d}" if left >= 60 else f"ETA {left}s")
    return " ".join(parts)
