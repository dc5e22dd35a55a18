"""What a run found, for a person and for a build server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from cli.hints import command
from cli.output import out, print_table
from core.states import ValidationState, Verdict
from db.queries.validations import ValidationDetail

SHOWN = 20
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def print_report(record: ValidationDetail) -> None:
    """Print verdict, reasons, the paired table, the regressed cases and the next command."""
    verdict = record.verdict.value.upper() if record.verdict else record.state.value
    style = {"PASS": "green", "FAIL": "red"}.get(verdict, "yellow")
    out.print(f"Validation {record.id}: {verdict}", style=style, markup=False, highlight=False)
    out.print(
        f"{record.app}, {record.cases} cases × {record.repeats} of {record.golden_set} version "
        f"{record.golden_version} ({record.golden_hash[:12]}), seed {record.seed}",
        markup=False,
        highlight=False,
    )
    if record.judges:
        out.print(f"Judged by {', then '.join(record.judges)}", markup=False, highlight=False, soft_wrap=True)
    for key, change in record.changed.items():
        out.print(f"  {key}: {change['from']!r} → {change['to']!r}", markup=False, highlight=False)
    if record.screen is not None:
        out.print(f"Quick screen before: {record.screen.says}", markup=False, highlight=False, soft_wrap=True)
    for reason in record.reasons:
        out.print(f"  {reason}", markup=False, highlight=False)
    print_table(
        ["METRIC", "BASELINE", "CANDIDATE", "Δ", "95 % CI", "P WORSE", "P NON-INFERIOR", "CASES"],
        [[name, *_row(result)] for name, result in record.comparison.items()],
        empty="Nothing compared yet.",
    )
    if record.regressed:
        out.print(f"{record.regressions} cases got worse:", markup=False, highlight=False)
        print_table(
            ["CASE", "METRIC", "BASELINE", "CANDIDATE", "WAS", "IS", "TRACES"],
            [
                [
                    entry.key,
                    entry.metric,
                    entry.baseline,
                    entry.candidate,
                    _short(entry.baseline_error or entry.baseline_output),
                    _short(entry.candidate_error or entry.candidate_output),
                    " ".join(filter(None, [entry.baseline_url, entry.candidate_url])) or None,
                ]
                for entry in record.regressed[:SHOWN]
            ],
            empty="",
        )
        if len(record.regressed) > SHOWN:
            rest = f"… {len(record.regressed) - SHOWN} more: {command('validate', 'show', str(record.id), '--json')}"
            out.print(rest, markup=False, highlight=False, soft_wrap=True)
    if record.spent_usd or record.spent_tokens:
        tokens = f", {record.spent_tokens} tokens" if record.spent_tokens else ""
        out.print(f"Spent ${record.spent_usd:.4f}{tokens}.", markup=False, highlight=False)
    if record.state is ValidationState.STOPPED or record.verdict is Verdict.ERROR:
        budget = ("--budget", "N") if record.state is ValidationState.STOPPED else ()
        following = command("validate", "run", "--resume", str(record.id), *budget)
        out.print(f"Next: {following}", markup=False, highlight=False, soft_wrap=True)
    elif record.proposal_id is not None:
        following = command("proposals", "show", str(record.proposal_id))
        out.print(f"Next: {following}", markup=False, highlight=False, soft_wrap=True)


def write_junit(path: Path, record: ValidationDetail, cases: Sequence[tuple[str, str | None, str | None]]) -> None:
    """Write one testcase per golden case: what could not be judged is an error, what regressed is a failure.

    Args:
        cases: (key, error, regression) per case.
    """
    suite = ET.Element(
        "testsuite",
        name=_xml(f"{record.app} validation {record.id}"),
        tests=str(len(cases)),
        errors=str(sum(1 for _, error, _ in cases if error)),
        failures=str(sum(1 for _, error, worse in cases if worse and not error)),
    )
    for key, error, worse in cases:
        case = ET.SubElement(suite, "testcase", name=_xml(key), classname=_xml(record.app))
        if error:
            ET.SubElement(case, "error", message=_xml(error.splitlines()[0][:200])).text = _xml(error)
        elif worse:
            ET.SubElement(case, "failure", message=_xml(worse.splitlines()[0][:200])).text = _xml(worse)
    ET.SubElement(suite, "system-out").text = _xml("\n".join([str(record.verdict), *record.reasons]))
    ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _row(result: dict[str, Any]) -> list[Any]:
    low, high = result["interval"]
    return [
        _level(result["baseline"], result["binary"]),
        _level(result["candidate"], result["binary"]),
        _signed(result["delta"], result["binary"]),
        f"{_signed(low, result['binary'])} … {_signed(high, result['binary'])}",
        f"{result['p_worse']:.3f}",
        f"{result['p_noninferior']:.3f}",
        result["cases"],
    ]


def _level(value: float | None, binary: bool) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if binary else f"{value:.1f}"


def _signed(value: float | None, binary: bool) -> str:
    if value is None:
        return "–"
    return f"{100 * value:+.1f}" if binary else f"{value:+.1f}"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else flat[:59] + "…"


def _xml(text: str) -> str:
    """Return the text without what XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
