"""Entry points of the notifications queue: parse, delegate, dispatch. No decisions here."""

from __future__ import annotations

from core.clock import utc_now
from core.errors import TransientError
from core.settings import settings
from notifications import announce as announcing
from notifications import deliver as delivery
from notifications import digest, rollup, smtp
from notifications.policy import cadence
from workers.runner import RunningJob, fleet_task


@fleet_task("notifications.announce")
def announce(job: RunningJob) -> None:
    """Queue the mails of one event."""
    with job.finish() as session:
        announcing.announce(
            session,
            str(job.args["event"]),
            int(job.args["subject_id"]),
            now=job.now,
            settings=settings(),
            number=int(job.args.get("number", 0)),
            parent=job.claim,
        )


@fleet_task("notifications.deliver", long=True)
def deliver(job: RunningJob) -> None:
    """Send one mail. What becomes of it is recorded under the mail's own fence, before this job is done."""
    url = settings().smtp_url
    if url is None:
        raise TransientError("no mail server: set METAMON_SMTP_URL, or start the embedded one with `metamon up`")
    delivery.deliver(
        job.sessions,
        int(job.args["email_id"]),
        server=smtp.parse_server(url.get_secret_value()),
        sender=settings().mail_from,
        now=utc_now,
        last_attempt=job.claim.attempt >= job.claim.max_attempts,
    )
    with job.finish():
        pass


@fleet_task("notifications.flush_hourly")
def flush_hourly(job: RunningJob) -> None:
    """Tell what the past slot brought, where it has not been told."""
    with job.finish() as session:
        rollup.flush(
            session,
            now=job.now,
            cadence=cadence(demo=settings().demo),
            settings=settings(),
            parent=job.claim,
        )


@fleet_task("notifications.flush_digest")
def flush_digest(job: RunningJob) -> None:
    """Send the digests that are due in somebody's local time."""
    with job.finish() as session:
        digest.flush(
            session,
            now=job.now,
            cadence=cadence(demo=settings().demo),
            settings=settings(),
            parent=job.claim,
        )
