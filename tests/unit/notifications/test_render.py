"""Mails from views: what they say, and that nobody else's text says more than its words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError

from core.states import Severity
from notifications import phrases, render, scale, typeset
from notifications.policy import content_id
from notifications.typeset import EmptyPrintError
from notifications.views import ChecksView, EventView, ImpactView, QualityView, Rendered, ValidationView
from notifications.wording import change, duration, figure, percent, plain, span
from tests.unit.notifications.views import (
    NOW,
    SITE,
    alert,
    busy,
    chart,
    digest,
    event,
    hourly,
    proposal,
    rollout,
    silence,
    storm,
)

HOSTILE = '<img src=x onerror="alert(1)">\r\nBcc: all@example.com {{ 7 * 7 }} \u202egnp.exe https://evil.example/x'

EVENTS: list[Callable[[EventView], Rendered]] = [
    render.critical,
    render.resolved,
    render.approval,
    render.blocked,
    render.rolled_back,
    render.implemented,
    render.test,
]


class Tags(HTMLParser):
    """Collects what a browser would see as markup."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag and where it leads."""
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action", "background")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that tags close in their order."""
        assert self.open.pop() == tag


def everything(hostile: str | None = None) -> list[Rendered]:
    """Return one mail of every kind, somebody's text in every field that can carry it."""
    if hostile is None:
        return [
            *(write(event()) for write in EVENTS),
            render.updated(event(before=0.86), base_subject="[fa-ai] critical: as it was"),
            render.storm(storm()),
            render.dead_man(silence()),
            render.hourly(hourly()),
            render.digest(digest()),
            render.digest(busy(), unsubscribe="https://metamon.example/unsubscribe/token"),
        ]
    bad_alert = alert(
        metric=hostile, title=hostile, reasons=(hostile,) * 3, trace_urls=(hostile, "https://evil.example/trace")
    )
    bad_proposal = proposal(
        title=hostile, root_cause=hostile, change=hostile, metric=hostile, risk=hostile, alert_title=hostile
    )
    bad_rollout = rollout(title=hostile, reason=hostile, last_step=hostile, finished_at=NOW)
    bad_site = replace(SITE, app=hostile)
    view = event(site=bad_site, alert=bad_alert, proposal=bad_proposal, rollout=bad_rollout, next_up=hostile)
    return [
        *(write(view) for write in EVENTS),
        render.updated(replace(view, before=0.86), base_subject="[fa-ai] critical: as it was"),
        render.storm(storm(site=bad_site, alerts=(bad_alert,) * 8)),
        render.dead_man(silence(site=bad_site)),
        render.hourly(hourly(site=bad_site, alerts=(bad_alert,), proposals=(bad_proposal,), rollouts=(bad_rollout,))),
        render.digest(
            digest(
                site=bad_site,
                new_alerts=(bad_alert,),
                decisions=(bad_proposal,),
                rollouts=(bad_rollout,),
                rolled_back=(bad_rollout,),
                blocked=(bad_proposal,),
                chart=chart(metric=hostile),
                impacts=(ImpactView(1, hostile, hostile, 1.0, 2.0, 1.0, 3.0, True, 1.0, "holdback"),),
            )
        ),
    ]


@pytest.mark.parametrize("hostile", [None, HOSTILE, "x" * 1_000_000])
def test_every_mail_is_well_formed_and_small(hostile: str | None) -> None:
    """Tables, text and our links: no script, no form, nothing from elsewhere; about 30 kB whatever went in."""
    for mail in everything(hostile):
        seen = Tags()
        seen.feed(mail.html)
        assert seen.open == []
        assert not {"script", "form", "iframe", "link", "object", "input"} & set(seen.tags)
        assert seen.links
        ours = ["https://metamon.example/"] + ([f"cid:{content_id(mail.chart)}"] if mail.chart else [])
        assert all(link.startswith(tuple(ours)) for link in seen.links)
        assert seen.tags.count("img") == (mail.chart is not None)
        assert "@import" not in mail.html
        assert "url(" not in mail.html
        assert len(mail.html.encode()) <= 32_000
        assert "\r" not in mail.text
        assert max(map(len, mail.text.splitlines())) < 500


def test_hostile_text_stays_text() -> None:
    """Markup is escaped, braces are not evaluated, a line break starts no header, nothing reads backwards."""
    for mail in everything(HOSTILE):
        assert "<img src=x" not in mail.html
        assert "49" not in mail.subject
        assert "\u202e" not in mail.html + mail.text + mail.subject
        for value in (mail.subject, *mail.headers.values()):
            assert "\n" not in value
            assert "\r" not in value
        assert len(mail.subject) <= len("Re: ") + typeset.SUBJECT_CAP


def test_a_missing_value_is_an_error_and_not_a_blank() -> None:
    """A mail with a hole in it must not go out."""
    environment = typeset.environment()
    with pytest.raises(UndefinedError):
        environment.from_string("{{ nothing }}").render()
    with pytest.raises(EmptyPrintError):
        environment.from_string("{{ value }}").render(value=None)
    with pytest.raises(EmptyPrintError):
        render.critical(event(alert=None))


def test_the_subject_of_a_critical_alert_says_it_all() -> None:
    """What, how bad, against what."""
    assert render.critical(event()).subject == "[fa-ai] critical: fact_accuracy 0.71, expected 0.93–0.97"
    silent = alert(metric="volume", observed=None, title="no runs for 12 minutes", kind="no_data")
    assert render.critical(event(alert=silent)).subject == "[fa-ai] critical: no runs for 12 minutes"
    rate = alert(metric="error_rate", observed=0.123, low=0.002, high=0.011)
    assert render.critical(event(alert=rate)).subject == "[fa-ai] critical: error_rate 12.3 %, expected 0.2–1.1 %"


@pytest.mark.parametrize(
    ("impact", "verdict", "said"),
    [
        ("high", "pass", "Validation passed. The change has high impact, so"),
        ("low", "pass", "Validation passed. The app's policy asks about such a change, so"),
        ("low", "inconclusive", "Validation could not tell whether the change does harm. The app's policy asks"),
    ],
)
def test_an_approval_is_asked_for_with_what_is_true(impact: str, verdict: str, said: str) -> None:
    """A policy may ask about what has low impact, and about what validation could not tell."""
    checked = ValidationView(31, verdict, 100, 0, ())
    mail = render.approval(event(proposal=proposal(impact=impact), validation=checked, rollout=None, impact=None))
    assert said in " ".join(mail.text.split())


def test_resolved_keeps_the_subject_of_its_thread() -> None:
    """Mail programs thread by it."""
    over = event(alert=alert(resolved_at=NOW))
    assert (
        render.resolved(over, base_subject="[fa-ai] critical: as it was").subject == "Re: [fa-ai] critical: as it was"
    )
    assert "It lasted 13 min" in render.resolved(over).text


def test_machines_can_tell_that_a_machine_wrote_it() -> None:
    """No out-of-office answers; unsubscribing is for digests alone: an alert is not a newsletter."""
    for mail in everything():
        assert mail.headers["Auto-Submitted"] == "auto-generated"
        assert mail.headers["X-Auto-Response-Suppress"] == "All"
        assert mail.headers["List-Id"] == "fa-ai <fa-ai.metamon>"
        digests = {render.digest(digest()).subject, render.digest(busy()).subject}
        assert ("List-Unsubscribe" in mail.headers) is (mail.subject in digests)


def test_plain_text_stands_alone() -> None:
    """The figures, the reasons, where to look and what to type are in it."""
    text = render.approval(event()).text
    for said in (
        "route.sonic-2: sonic-2 → atlas-1",
        "+18.2 %",
        "100 cases",
        "metamon proposals approve 14",
        "https://metamon.example/proposals/14",
    ):
        assert said in text
    assert not re.search(r"</?[a-z]+[ >]", text)


def test_a_quiet_day_says_so_with_its_checks() -> None:
    """The verdict is the subject."""
    mail = render.digest(digest())
    assert mail.subject == "[fa-ai] all quiet · 288 of 288 checks ran · quality 0.86 (−0.01, within noise)"
    assert mail.text.splitlines()[2] == "All quiet, 288 of 288 checks ran"


@pytest.mark.parametrize(
    ("fields", "heading", "subject"),
    [
        ({"decisions": (proposal(),)}, "fa-ai is healthy; 1 proposal waits for you", "1 needs approval · 0 critical"),
        ({"decisions": (proposal(), proposal(id=15))}, "2 proposals wait for you", "2 need approval · 0 critical"),
        ({"new_alerts": (alert(),)}, "fa-ai is in trouble: 1 critical alert open", "1 critical"),
        ({"new_alerts": (alert(severity=Severity.HIGH),)}, "fa-ai is degraded: 1 alert open", "0 critical"),
        ({"new_alerts": (alert(resolved_at=NOW),)}, "fa-ai was degraded; it has recovered", "0 critical"),
        ({"checks": ChecksView(200, 288)}, "Monitoring had gaps: 200 of 288", "0 critical · 200 of 288 checks ran"),
        ({"runs": 0, "quality": None}, "All quiet", "all quiet"),
    ],
)
def test_the_verdict_comes_first(fields: dict[str, object], heading: str, subject: str) -> None:
    """The worst thing is the heading; open before over, trouble before work to do."""
    mail = render.digest(digest(**fields))
    assert heading in mail.text.splitlines()[2]
    assert mail.subject.startswith(f"[fa-ai] {subject}")


def test_only_a_known_change_has_a_colour() -> None:
    """Grey where the interval includes zero, red where it is worse, and less errors are not worse."""
    lines = {m.metric: phrases.metric_tone(m) for m in digest().metrics}
    assert lines == {"fact_accuracy": "alarm", "error_rate": "soft", "latency_p95": "soft"}
    better = replace(digest().metrics[1], vs_baseline=-0.02, low=-0.03, high=-0.01)
    assert phrases.metric_tone(better) == "good"


def test_a_storm_is_counted_not_listed() -> None:
    """A hundred alerts make one mail of ordinary size."""
    many = tuple(alert(id=number, severity=Severity.HIGH) for number in range(100))
    for mail in (render.hourly(hourly(alerts=many)), render.digest(digest(new_alerts=many))):
        assert "and 90 more" in mail.text
        assert "and 90 more" in mail.html
        assert len(mail.html.encode()) <= 30_000


@pytest.mark.parametrize(
    ("observed", "low", "high", "order"),
    [
        (0.71, 0.93, 0.97, ["gap", "mark", "gap", "band", "gap"]),
        (0.3, 0.01, 0.05, ["gap", "band", "gap", "mark", "gap"]),
        (0.5, 0.5, 0.5, None),
        (5.0, 1.0, 1.0, None),
    ],
)
def test_the_scale_adds_up(observed: float, low: float, high: float, order: list[str] | None) -> None:
    """The pieces are a hundred per cent wide, the mark is always there, and it lies on its side of the band."""
    pieces = scale.segments(observed, low, high)
    assert sum(piece.width for piece in pieces) == 100
    assert "mark" in [piece.kind for piece in pieces]
    if order is not None:
        assert [piece.kind for piece in pieces] == order


def test_figures_are_written_for_people() -> None:
    """Units, signs and roundings as a person would write them."""
    assert figure("fact_accuracy", 0.7149) == "0.71"
    assert figure("error_rate", 0.1234).replace("\xa0", " ") == "12.3 %"
    assert figure("latency_p95", 2.84).replace("\xa0", " ") == "2.8 s"
    assert figure("latency_p95", 0.084).replace("\xa0", " ") == "84 ms"
    assert figure("cost", 4.1234) == "$4.12"
    assert figure("volume", 1234.0) == "1,234"
    assert figure("anything", None) == "no data"
    assert change("quality", -0.012) == "−0.01"
    assert change("quality", 0.0021) == "+0.002"
    assert change("quality", 0.00001) == "±0"
    assert change("error_rate", 0.012).replace("\xa0", " ") == "+1.2 pt"
    assert percent(-18.0).replace("\xa0", " ") == "−18 %"
    assert span("sla_compliance", 0.98, 0.997).replace("\xa0", " ") == "98–99.7 %"
    assert duration(timedelta(hours=2, minutes=5)).replace("\xa0", " ") == "2 h 5 min"
    assert duration(timedelta(seconds=-3)).replace("\xa0", " ") == "0 s"
    assert plain("a\r\n\tb   c\x00\u202ed", 50) == "a b c d"
    assert plain("word " * 200, 20) == "word word word word…"


def test_the_demo_owns_up_to_its_cadence() -> None:
    """Nobody must think that a day passed."""
    mail = render.digest(digest(site=replace(SITE, demo=True), quality=QualityView(0.9, None, None)))
    assert "demo cadence" in mail.html.lower()
    assert "demo cadence" in mail.text.lower()


def test_a_proposals_mail_says_what_was_ruled_out_and_links_failing_runs() -> None:
    """Addresses of ours alone; what a trace wrote is text."""
    plain = event(rollout=None, impact=None)
    assert plain.proposal is not None
    ours = plain.site.link("runs/1")
    view = replace(
        plain,
        proposal=replace(
            plain.proposal, ruled_out=("Revert x: <b>too old</b>",), bad_runs=(ours, "https://evil.example/")
        ),
    )
    mail = render.approval(view)
    for body in (mail.text, mail.html):
        assert "uled out" in body
        assert ours in body
        assert "evil.example" not in body
    assert "<b>too old" not in mail.html
