"""The real app with one quick schedule entry: `celery -A tests.chaos.beat beat`."""

from __future__ import annotations

from datetime import timedelta

from workers.app import app

app.conf.beat_schedule = {"mark": {"task": "monitoring.mark", "schedule": timedelta(seconds=1)}}
