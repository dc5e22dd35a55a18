"""The frame around a mail's words: templates, escaping, the headers that every mail has.

Whatever a template prints goes through `plain` (one line, no control characters, capped) and, in HTML, is escaped; a
missing variable or a None is an error, not a blank.
"""

from __future__ import annotations

import textwrap
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from core.errors import MetamonError
from notifications import wording
from notifications.views import Rendered, Site
from notifications.wording import NBSP, plain

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
    **context: Any,
) -> Rendered:
    """Return the mail that the templates `<name>.html` and `<name>.txt` make of the context.

    Args:
        preheader: what a mail list shows beside the subject.
        occasion: what the mail is, in the line above everything.
        headers: beside those that every mail has.
    """
    common: dict[str, Any] = {
        "subject": subject,
        "preheader": preheader,
        "occasion": occasion,
        "zone_name": str(site.zone),
        **context,
    }
    html = environment().get_template(f"{name}.html").render(common)
    text = environment().get_template(f"{name}.txt").render(common)
    return Rendered(
        subject=subject,
        text=text.strip().replace(NBSP, " ") + "\n",
        html="\n".join(line.strip() for line in html.splitlines() if line.strip()) + "\n",
        headers={
            **AUTOMATIC,
            "List-Id": f"{plain(site.app, 60)} <{_label(site.app)}.metamon>",
            **(headers or {}),
        },
    )


def subject_of(site: Site, said: str) -> str:
    """Return a subject: the app in brackets, then what is said; one line, capped."""
    return plain(f"[{plain(site.app, 40)}] {said}", SUBJECT_CAP).replace(NBSP, " ")


@lru_cache
def environment() -> Environment:
    """Return the templates' environment, made once."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"], default=False),
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(markup=Markup, words=words, lay=lay, point=point)
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


def lay(text: str, indent: int = 0) -> Laid:
    """Return the text broken into lines, indented."""
    margin = " " * indent
    return Laid(textwrap.fill(plain(text), WIDTH, initial_indent=margin, subsequent_indent=margin))


def point(text: str) -> Laid:
    """Return the text as an item of a list."""
    return Laid(textwrap.fill(plain(text), WIDTH, initial_indent="  - ", subsequent_indent="    "))


def _finalize(value: object) -> object:
    if value is None:
        raise EmptyPrintError("a template printed a value that is not there")
    if isinstance(value, str) and not isinstance(value, Markup | Laid):
        return plain(value)
    return value


def _label(app: str) -> str:
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in app.lower()).strip("-")
    return kept[:60] or "app"
