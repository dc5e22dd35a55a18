"""What is special about a worker of the embedded fleet: `celery worker --include workers.embedded.worker`."""

from __future__ import annotations

from typing import Any

from celery.signals import worker_ready

from core.settings import settings
from workers.app import app

# Somebody waits at the terminal, and a worker without a task has nothing to finish.
app.conf.worker_enable_soft_shutdown_on_idle = False


@worker_ready.connect
def _say_ready(sender: Any, **_: object) -> None:
    """Tell the supervisor that this worker takes jobs."""
    queue = str(sender.hostname).partition("@")[0]
    (settings().state / "run" / f"{queue}.ready").touch()
