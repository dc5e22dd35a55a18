"""`docs/json.md` names the fields that scripts rely on: it says what the records have, no more and no less.

`UPDATE_GOLDEN=1 uv run pytest tests/unit/test_json_page.py` writes it anew.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from db.queries.alerts import AlertDetail, AlertRecord
from db.queries.apps import AppRecord
from db.queries.emails import MailContent, MailRecord
from db.queries.evaluations import EvaluationDetail, EvaluationRecord
from db.queries.impact import ImpactRecord
from db.queries.jobs import JobDetail, JobRecord
from db.queries.proposals import ProposalDetail, ProposalRecord
from db.queries.rollouts import RolloutDetail, RolloutRecord
from db.queries.tokens import TokenRecord
from db.queries.validations import CaseRecord, ValidationDetail, ValidationRecord
from workers.status import Status

PAGE = Path(__file__).parents[2] / "docs" / "json.md"

LISTS: dict[str, tuple[type[BaseModel], type[BaseModel] | None]] = {
    "alerts": (AlertRecord, AlertDetail),
    "apps": (AppRecord, None),
    "proposals": (ProposalRecord, ProposalDetail),
    "validate": (ValidationRecord, ValidationDetail),
    "rollouts": (RolloutRecord, RolloutDetail),
    "evaluations": (EvaluationRecord, EvaluationDetail),
    "impact": (ImpactRecord, None),
    "mail": (MailRecord, MailContent),
    "jobs": (JobRecord, JobDetail),
    "tokens": (TokenRecord, None),
}

RELIED_ON = {
    "alerts": "id app kind severity metric state opened_at observed expected trace_urls",
    "proposals": "id alert_id status title change cause predicted_pct predicted_interval effort_hours impact",
    "validate": "id proposal_id verdict cases regressions",
    "rollouts": "id proposal_id percent state reason",
    "impact": "proposal_id predicted_pct measured_pct measured_interval roi",
    "mail": "id kind subject to state sent_at",
}

HEAD = """# What `--json` prints

One document on stdout; whatever is said to people goes to stderr. Lists are arrays; what happens in time comes newest
first. Fields are added, and are neither renamed nor taken away within a major version. Times are ISO 8601 in UTC, money
is in US dollars, percentages are numbers of percent. What is unknown is `null`. The HTTP API under `/api/v1` serves the
same records (`/api/docs`). Exit codes: 0 done, 1 the answer is bad news (a regression, a fleet that is not well), 2
what was asked for cannot be, 4 what it needs is not there; [validations](validation.md) have more.
"""


def kind(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Return a JSON schema's type in words."""
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(kind(option, definitions) for option in field["anyOf"]))
    if "$ref" in field:
        found = definitions[field["$ref"].rsplit("/", 1)[1]]
        if "enum" in found:
            return " · ".join(f"`{value}`" for value in found["enum"])
        return "object"
    if field.get("type") == "array":
        of = kind(field["items"], definitions) if field.get("items") else "anything"
        return f"array of {of}"
    if field.get("format") == "date-time":
        return "time"
    return str(field.get("type", "anything"))


def fields(model: type[BaseModel]) -> dict[str, str]:
    """Return a record's fields with their types."""
    schema = model.model_json_schema(mode="serialization")
    return {name: kind(field, schema.get("$defs", {})) for name, field in schema["properties"].items()}


def table(rows: dict[str, str]) -> str:
    """Return a table of fields."""
    return "\n".join(["| field | |", "|---|---|", *(f"| `{name}` | {what} |" for name, what in rows.items())])


def page() -> str:
    """Return the page as it has to be."""
    parts = [HEAD, f"## `metamon status`\n\n{table(fields(Status))}\n"]
    for name, (record, detail) in LISTS.items():
        parts.append(f"## `metamon {name} list`\n\n{table(fields(record))}\n")
        if detail is not None:
            more = {key: what for key, what in fields(detail).items() if key not in record.model_fields}
            parts.append(f"`metamon {name} show N` has, besides:\n\n{table(more)}\n")
    parts.append(f"## `metamon validate cases N`\n\n{table(fields(CaseRecord))}\n")
    parts.append("## `metamon tokens create`\n\n`token` (shown this once), `scope`, `name`.\n")
    return "\n".join(parts)


def test_the_page_says_what_is_printed() -> None:
    """A field that is renamed breaks somebody's script: it shows here first."""
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()


@pytest.mark.parametrize("name", RELIED_ON)
def test_the_fields_that_others_rely_on_are_there(name: str) -> None:
    """These were promised before there was a page."""
    assert set(RELIED_ON[name].split()) <= fields(LISTS[name][0]).keys()
