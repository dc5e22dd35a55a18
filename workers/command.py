"""`python -m workers.command worker|beat …`: Celery's own commands on our app, and nothing beside them.

`celery` loads what every installed plugin adds to its command line, in every process: Flower comes with a web server
and a terminal library, half a second and fifteen megabytes that a worker never uses.
"""

from __future__ import annotations

import sys

from celery.bin.base import CLIContext


def main() -> None:
    """Run one of the two commands with the arguments that follow its name."""
    name, *arguments = sys.argv[1:]
    if name == "worker":
        from celery.bin.worker import worker as command
    elif name == "beat":
        from celery.bin.beat import beat as command
    else:
        raise SystemExit(f"there is no command {name!r} here: worker, beat")
    from workers.app import app

    command.main(args=arguments, prog_name=f"metamon {name}", obj=CLIContext(app=app, no_color=True, workdir=None))


if __name__ == "__main__":
    main()
