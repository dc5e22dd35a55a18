"""Entry points of the research queue: parse, delegate, dispatch. No decisions here."""

from __future__ import annotations

from agents.research import asking, investigation, record, subject
from core.settings import settings
from traces.select import source_of
from workers.runner import RunningJob, fleet_task


@fleet_task("research.investigate", long=True)
def investigate(job: RunningJob) -> None:
    """Investigate one alert. Idempotent: (alert, change) is a proposal once.

    Reading and judging happen outside any transaction. While the evidence is thin, it waits for more.
    """
    with job.sessions() as session:
        what, project, end, excluded = subject.read(session, int(job.args["alert_id"]), now=job.now)
    finding = investigation.Finding(None, None)
    if project is not None and investigation.about_runs(what.metric):
        source = source_of(what.source, job.sessions, settings())
        bad, baseline = subject.windows(source, project, what.window_start, end, excluded)
        finding = investigation.investigate(what, bad, baseline)
        period = settings().sweep_period
        if not finding.conclusive and job.now < what.opened_at + investigation.patience(period):
            job.postpone(job.now + period)
            return
    said = asking.ask(job.sessions, settings(), what, finding, now=job.now)
    with job.finish() as session:
        record.record(session, what, said.finding, now=job.now, parent=job.claim, explanation=said.explanation)
