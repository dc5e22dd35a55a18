"""`python -m workers.embedded.bytecode`: import once what the fleet's processes import, so that each finds bytecode.

In a new environment a dozen processes would compile the same modules at the same moment. To compile everything that is
installed takes four times as long: most of it is never imported. They are names here and no
imports, since nothing here builds on what it names.
"""

from __future__ import annotations

import importlib

from workers.queues import TASK_MODULES

MODULES = (
    "cli.fleet",
    "workers.relay",
    "workers.command",
    "celery.bin.worker",
    "celery.bin.beat",
    "workers.beat",
    "workers.embedded.worker",
    "workers.embedded.smtp",
    *TASK_MODULES,
    "flower.command",
    "flower.urls",
    "uvicorn",
    "demo.__main__",
)


def main() -> None:
    """Import all of it, and make an app, which imports on demand."""
    for name in MODULES:
        importlib.import_module(name)
    importlib.import_module("api.app").create_app()


if __name__ == "__main__":
    main()
