"""`python -m workers.secrets FOLDER [GRAFANA]`: make a compose stack's passwords once, in volumes of their own.

Nothing has a default password, and nobody has to think one up. The files are named after the settings they are, so
that `core.settings` reads them as it reads Docker's own secrets. A second run leaves everything as it is.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

REDIS_CONFIGURATION = """\
bind 0.0.0.0 -::*
protected-mode yes
dir /data
requirepass {password}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


def make(folder: Path, grafana: Path | None = None) -> list[str]:
    """Write what is missing and return its names.

    Args:
        folder: of the fleet, its Postgres and its Redis, whose containers begin as root.
        grafana: of Grafana alone, which begins as a user of its own and must be able to read it.
    """
    postgres = _keep(folder / "postgres_password", secrets.token_urlsafe(24))
    redis = _keep(folder / "redis_password", secrets.token_urlsafe(24))
    wanted = {
        "metamon_database_url": f"postgresql://metamon:{postgres}@postgres:5432/metamon",
        "metamon_redis_url": f"redis://:{redis}@redis:6379/0",
        "metamon_flower_password": secrets.token_urlsafe(18),
        "redis.conf": REDIS_CONFIGURATION.format(password=redis),
    }
    made = [name for name in wanted if not (folder / name).exists()]
    for name, content in wanted.items():
        _keep(folder / name, content)
    if grafana is not None and not (password := grafana / "admin_password").exists():
        made.append(password.name)
        _keep(password, secrets.token_urlsafe(18), mode=0o644)
    return made


def _keep(path: Path, content: str, mode: int = 0o600) -> str:
    """Return what the file holds, writing it first where it is missing: whole or not at all."""
    if not path.exists():
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        temporary.rename(path)
    return path.read_text()


if __name__ == "__main__":
    made = make(*map(Path, sys.argv[1:]))
    sys.stdout.write(f"made: {', '.join(made)}\n" if made else "all secrets were there\n")
