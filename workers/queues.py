"""The queues of the fleet, one per kind of work, and how tasks are routed to them."""

from __future__ import annotations

from kombu.entity import Exchange, Queue

QUEUES = ("monitoring", "research", "validation", "rollout", "evaluation", "notifications")

CONCURRENCY = {"validation": 2}
"""Child processes of a queue's worker; one where nothing is said."""

TASK_QUEUES = tuple(
    # A bare Queue(name) would take the default queue's exchange and key.
    Queue(name, Exchange(name, type="direct"), routing_key=name, durable=True)
    for name in QUEUES
)

TASK_ROUTES = {f"{name}.*": {"queue": name, "routing_key": name} for name in QUEUES}

TASK_MODULES = tuple(f"tasks.{name}" for name in QUEUES)
