"""Tells the supervisor that a worker takes jobs: `celery worker --include workers.embedded.ready`."""

from __future__ import annotations

from typing import Any

from celery.signals import worker_ready

from core.settings import settings


@worker_ready.connect
def _say_ready(sender: Any, **_: object) -> None:
    queue = str(sender.hostname).partition("@")[0]
    (settings().state / "run" / f"{queue}.ready").touch()
