"""The Celery app and every setting of it, each with its reason."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import setup_logging

from beat_schedule import BEAT_SCHEDULE
from core.logging import configure_logging
from core.settings import settings
from workers.queues import TASK_QUEUES, TASK_ROUTES

# Celery reads this one variable itself: a SIGTERM then starts the soft shutdown, which re-queues what does not finish.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")

TIME_LIMIT_S = 600
"""Hard limit of a task; the visibility timeout must exceed it."""


def redis_url() -> str:
    """Return the broker's URL in the spelling that kombu knows."""
    url = settings().redis_url
    if url is None:
        return "redis://127.0.0.1:6379/0"
    value = url.get_secret_value()
    return value.replace("unix://", "redis+socket://", 1)


# No task modules here: each worker includes its own queue's (`--include tasks.validation`) and pays for no other's.
app = Celery("metamon", broker=redis_url())
app.conf.update(
    # -- delivery -------------------------------------------------------------------------------------------------
    task_acks_late=True,  # survive the death of a child
    task_retry_on_worker_lost=True,  # bounded by max_retries, unlike reject
    task_reject_on_worker_lost=True,  # only where that retry cannot be published
    worker_prefetch_multiplier=1,  # with -O fair: a long task must not sit on a short one
    task_ignore_result=True,  # results are our rows
    task_store_errors_even_if_ignored=False,  # there is no result backend that they could go to
    task_time_limit=TIME_LIMIT_S,  # a child that hangs is killed; its job is taken up again like after any other kill
    task_soft_time_limit=TIME_LIMIT_S - 60,  # a minute to write down what became of it
    task_publish_retry=False,  # the relay owns retry
    # -- broker ---------------------------------------------------------------------------------------------------
    broker_transport_options={
        "visibility_timeout": TIME_LIMIT_S + 300,  # above the hard limit, or long tasks run twice
        "unacked_restore_interval": 5,  # a killed worker's messages come back in seconds, not in 100
        "unacked_restore_throttle": 1,  # look every time, not every tenth
        "socket_timeout": 15,  # a Redis that hangs counts as one that is away; above the blocking reads of kombu
        "socket_connect_timeout": 5,  # as long as anybody here waits for a connection
        "socket_keepalive": True,  # a firewall that forgets a silent connection is noticed
        "health_check_interval": 10,  # a ping before a connection that was silent for so long is used
        "retry_on_timeout": False,  # a retried LPUSH can duplicate
    },
    broker_connection_retry_on_startup=True,  # fleet and broker may start in any order
    broker_connection_max_retries=None,  # a worker outlives any outage of Redis
    broker_pool_acquire_timeout=5,  # a publisher waits no longer for a connection than for its server
    worker_cancel_long_running_tasks_on_connection_loss=False,  # a blip must not kill paid work; commits are fenced
    # -- workers --------------------------------------------------------------------------------------------------
    worker_soft_shutdown_timeout=8,  # `up` promises to stop within 15 s
    worker_enable_soft_shutdown_on_idle=True,  # an idle worker holds fetched messages too, which must go back
    worker_proc_alive_timeout=30,  # "Could not start worker processes" on a slow machine otherwise
    worker_max_tasks_per_child=1000,  # what a library leaks ends with the child
    worker_max_memory_per_child=400_000,  # kB; the same for one large task, looked at when it is done
    worker_hijack_root_logger=False,  # logs are structured and go where ours go
    worker_send_task_events=settings().task_events,  # Flower needs them
    task_send_sent_event=False,  # the relay sends an id again until somebody takes it: `sent` would count messages
    # -- beat -----------------------------------------------------------------------------------------------------
    beat_schedule=BEAT_SCHEDULE,
    beat_scheduler="workers.beat:OutboxScheduler",  # inserts jobs, speaks to Postgres alone
    beat_max_loop_interval=5,  # a clock that was set is noticed within seconds
    beat_enable_remote_control=True,  # beat answers ping
    # -- routes and safety ----------------------------------------------------------------------------------------
    task_queues=TASK_QUEUES,
    task_routes=TASK_ROUTES,
    task_create_missing_queues=False,  # a misspelt queue is an error
    task_default_queue="monitoring",  # one of ours: Celery would declare its own "celery" otherwise,
    task_default_exchange="monitoring",  # which no worker reads
    task_default_routing_key="monitoring",
    accept_content=["json"],  # never pickle
    task_serializer="json",  # an id is all that travels
    result_serializer="json",
    timezone="UTC",  # local times are the readers', and ours to compute
    enable_utc=True,
)


@setup_logging.connect
def _configure_logging(**_: object) -> None:
    configure_logging(settings().log_level)
