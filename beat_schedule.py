"""When the fleet does what: data only.

Beat inserts a job per entry and slot (`tick:<name>:<scheduled_for>`), so two beats do no harm and a slot runs once.
The digest and the hourly roll-up are checks, not appointments: each looks at what is due in every recipient's local
time, so that an hour without beat loses nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from core.settings import settings

_sweep = settings().sweep_period
_check = min(timedelta(minutes=5), _sweep)

BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "sweep": {"task": "monitoring.sweep", "schedule": _sweep},
    "guard": {"task": "rollout.guard", "schedule": _sweep},
    "roll-up": {"task": "notifications.flush_hourly", "schedule": _check},
    "digest": {"task": "notifications.flush_digest", "schedule": _check},
    "evaluate": {"task": "evaluation.daily", "schedule": _check},
    "retention": {"task": "monitoring.retain", "schedule": timedelta(hours=1)},
}
