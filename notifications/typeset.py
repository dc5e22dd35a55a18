"""The frame around a mail's words: templates, escaping, the headers that every mail has.

Whatever a template prints goes through `plain` (one line, no control characters, capped) and, in HTML, is escaped; a
missing variable or a None is an error, not a blank.
"""

from __future__ import annotations

import re
import textwrap
from functools import lru_cache
from pathlib import Path
from typing import Any

import css_inline
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape
from markupsafe import Markup
from mjml import mjml2html

from core.errors import MetamonError
from notifications import wording
from notifications.policy import content_id
from notifications.views import Rendered, Site
from notifications.wording import NBSP, plain

TEMPLATES = Path(__file__).parent / "templates"
SUBJECT_CAP = 160
WIDTH = 76
AUTOMATIC = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}
"""No out-of-office answers to these."""


class EmptyPrintError(MetamonError):
    """A template printed a value that is not there."""


class Laid(str):
    """Text whose lines we broke ourselves: it is printed as it is."""

    __slots__ = ()


def typeset(
    name: str,
    site: Site,
    *,
    subject: str,
    preheader: str,
    occasion: str,
    headers: dict[str, str] | None = None,
    chart: bytes | None = None,
    **context: Any,
) -> Rendered:
    """Return the mail that the templates `<name>.mjml` and `<name>.txt` make of the context.

    Args:
        preheader: what a mail list shows beside the subject.
        occasion: what the mail is, in the line above everything.
        headers: beside those that every mail has.
        chart: a PNG that the HTML shows as `chart_cid`.
    """
    common: dict[str, Any] = {
        "method": "",
        "unsubscribe": "",
        "chart_cid": content_id(chart) if chart is not None else "",
        "subject": subject,
        "preheader": preheader,
        "occasion": occasion,
        "zone_name": str(site.zone),
        **context,
    }
    html = inliner().inline(layout(name).render(common))
    text = environment().get_template(f"{name}.txt").render(common)
    return Rendered(
        subject=subject,
        text=text.strip().replace(NBSP, " ") + "\n",
        html=_slim(html),
        headers={
            **AUTOMATIC,
            "List-Id": f"{plain(site.app, 60)} <{_label(site.app)}.metamon>",
            **(headers or {}),
        },
        chart=chart,
    )


def subject_of(site: Site, said: str) -> str:
    """Return a subject: the app in brackets, then what is said; one line, capped."""
    return plain(f"[{plain(site.app, 40)}] {said}", SUBJECT_CAP).replace(NBSP, " ")


@lru_cache
def layout(name: str) -> Template:
    """Return the HTML template of a mail: its MJML within the frame, compiled once in the life of a process.

    Values are put in afterwards, so that escaping is the last that happens to somebody's text.
    """
    frame = (TEMPLATES / "frame.mjml").read_text(encoding="utf-8")
    body = (TEMPLATES / f"{name}.mjml").read_text(encoding="utf-8")
    compiled = mjml2html(frame.replace("<mj-raw>BODY</mj-raw>", body))
    # Somebody's text stays out of attributes: serialised HTML need not escape `<` there, and not every client knows.
    compiled = compiled.replace('aria-label="{{ subject }}" ', "", 1)
    # MJML's own resets are for clients that read the style block; written into every cell they would double the mail.
    compiled = compiled.replace('<style type="text/css">', '<style type="text/css" data-css-inline="ignore">', 1)
    compiled = compiled.replace("border-collapse: collapse; ", "", 1)  # a card's corners and bar need it separate
    return environment().from_string('{% import "components.html" as c with context %}' + compiled)


@lru_cache
def inliner() -> css_inline.CSSInliner:
    """Return what writes the style block into the elements. It fetches nothing: a stylesheet's URL would be an SSRF."""
    return css_inline.CSSInliner(
        load_remote_stylesheets=False,
        keep_style_tags=True,  # dark mode and phones are in it
        keep_at_rules=True,
        remove_inlined_selectors=True,
    )


@lru_cache
def environment() -> Environment:
    """Return the templates' environment, made once."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"], default=False, default_for_string=True),
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(words=words, lay=lay, point=point, attribute=attribute)
    made.globals.update(
        figure=wording.figure,
        change=wording.change,
        label=wording.label,
        percent=wording.percent,
        moment=wording.moment,
        clock=wording.clock,
        duration=wording.duration,
        count=wording.count,
    )
    return made


def words(name: str) -> str:
    """Return a technical name as words."""
    return name.replace("_", " ")


def attribute(text: str) -> str:
    """Return the text without what could end an attribute or begin an element, escaped or not."""
    return text.translate({ord(char): "" for char in "<>\"'`"})


def lay(text: str, indent: int = 0) -> Laid:
    """Return the text broken into lines, indented."""
    margin = " " * indent
    return Laid(textwrap.fill(plain(text), WIDTH, initial_indent=margin, subsequent_indent=margin))


def point(text: str) -> Laid:
    """Return the text as an item of a list."""
    return Laid(textwrap.fill(plain(text), WIDTH, initial_indent="  - ", subsequent_indent="    "))


def _slim(html: str) -> str:
    """Return the HTML without the blanks that only we read, in lines that no mail server breaks."""
    return re.sub(r"\n\s*", "\n", re.sub(r">\s+<", ">\n<", html)).strip() + "\n"


def _finalize(value: object) -> object:
    if value is None:
        raise EmptyPrintError("a template printed a value that is not there")
    if isinstance(value, str) and not isinstance(value, Markup | Laid):
        return plain(value)
    return value


def _label(app: str) -> str:
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in app.lower()).strip("-")
    return kept[:60] or "app"
