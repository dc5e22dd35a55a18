"""`metamon apps`: what is monitored, by which limits, and the configuration that flags serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.actor import actor
from cli.hints import command
from cli.output import JsonFlag, err, fail, print_json, print_table

app = typer.Typer(help="The monitored apps: add, set, list.", no_args_is_help=True)

Config = Annotated[Path | None, typer.Option("--config", help="JSON file: the configuration by dotted key.")]
Allowed = Annotated[Path | None, typer.Option("--allowed", help="JSON file: what proposals may change, by key.")]
Target = Annotated[Path | None, typer.Option("--target", help="JSON file: how a candidate is run.")]
Policy = Annotated[Path | None, typer.Option("--policy", help="JSON file: who decides about what passed validation.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, hyphens.")],
    *,
    sla_ms: Annotated[int, typer.Option("--sla-ms", help="Milliseconds an answer may take.")],
    notify: Annotated[list[str] | None, typer.Option(help="Mail address; may be given several times.")] = None,
    source: Annotated[str, typer.Option(help="embedded: traces to us. langsmith: the cloud is polled.")] = "embedded",
    project: Annotated[str | None, typer.Option(help="Tracing project; the name where not given.")] = None,
    timezone: Annotated[str, typer.Option(help="Of its people: the digest goes out at nine there.")] = "UTC",
    config: Config = None,
    allowed: Allowed = None,
    target: Target = None,
    as_json: JsonFlag = False,
) -> None:
    """Monitor another app.

    Example: metamon apps add shop-bot --sla-ms 2000 --notify ops@example.com
    """
    from agents.apps import add_app
    from db.queries.apps import get_app
    from db.session import session_factory

    fields: dict[str, Any] = {
        "sla_ms": sla_ms, "notify": notify or [], "source": source, "timezone": timezone,
        "allowed": _document(allowed), "target": _document(target),
    }  # fmt: skip
    if project is not None:
        fields["project"] = project
    with session_factory().begin() as session:
        add_app(session, name, fields, _document(config) or {}, by=actor())
        record = get_app(session, name)
    if as_json:
        print_json(record)
        return
    print(f"{record.name} is monitored: its traces are awaited in the project {record.project!r}.")
    if record.source == "embedded":
        following = command("tokens", "create", "--scope", "ingest", "--name", record.name)
        err.print(f"Next: {following}", style="dim", markup=False, highlight=False, soft_wrap=True)


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """List the apps.

    Example: metamon apps list --json
    """
    from db.queries.apps import list_apps
    from db.session import session_factory

    with session_factory()() as session:
        records = list_apps(session)
    if as_json:
        print_json(records)
        return
    print_table(
        ["NAME", "SOURCE", "PROJECT", "SLA MS", "NOTIFY", "TIMEZONE", "ENABLED"],
        [
            [r.name, r.source, r.project, r.sla_ms, ", ".join(r.notify), r.timezone, "yes" if r.enabled else "no"]
            for r in records
        ],
        empty="No app yet: metamon apps add my-app --sla-ms 2000 --notify ops@example.com",
    )


@app.command()
def show(name: str, as_json: JsonFlag = False) -> None:
    """Show one app with its configuration.

    Example: metamon apps show fa-ai
    """
    from agents import approval
    from db.queries.apps import get_app
    from db.session import session_factory

    with session_factory()() as session:
        record = get_app(session, name)
    if as_json:
        print_json(record)
        return
    rows: list[list[Any]] = [
        [key, ", ".join(value) if isinstance(value, list) else value]
        for key, value in record.model_dump(exclude={"config", "allowed", "target", "objectives", "policy"}).items()
    ]
    rows += [[f"config.{key}", value] for key, value in sorted(record.config.items())]
    rows += [[key, json.dumps(value)] for key, value in (("target", record.target), ("objectives", record.objectives))]
    rows += [["proposals may change", ", ".join(sorted(record.allowed)) or "nothing"]]
    rows += [["policy", approval.words(rule)] for rule in approval.parse(record.policy)]
    print_table(["FIELD", "VALUE"], rows, empty="")


@app.command("set")
def set_(
    name: str,
    assignments: Annotated[
        list[str] | None, typer.Argument(help="sla_ms=800 objectives.error_rate=0.02 config.prompt.a=v13")
    ] = None,
    *,
    config: Config = None,
    allowed: Allowed = None,
    target: Target = None,
    policy: Policy = None,
    as_json: JsonFlag = False,
) -> None:
    """Set fields, objectives and configuration keys; `config.KEY=null` removes a key. Every change is in the audit log.

    An objective is the worst value that is still fine: `objectives.error_rate=0.02`, `objectives.fact_accuracy=0.9`,
    `objectives.latency_p95=2.5` (seconds), `objectives.cost_per_run=0.02`. Try one first: metamon alerts replay fa-ai
    --set objectives.error_rate=0.02

    A policy is a list of rules, the first that applies decides: [{"name": "small-prompts", "change": ["prompt"],
    "max_characters": 40, "then": "approve"}, {"name": "routes", "change": ["routing"], "then": "ask"}]. `policy=[]`
    goes back to the default: low impact is approved once it passed, all else asks a person.

    Example: metamon apps set fa-ai sla_ms=800 config.retrieval.k=6

    Example: metamon apps set fa-ai --policy policy.json
    """
    from agents.apps import change_app, parse_assignments
    from db.queries.apps import get_app
    from db.session import session_factory

    fields, keys = parse_assignments(assignments or [])
    keys = {**(_document(config) or {}), **keys}
    fields |= {name: doc for name, doc in (("allowed", _document(allowed)), ("target", _document(target))) if doc}
    if policy is not None:
        fields["policy"] = _content(policy)
        if not isinstance(fields["policy"], list):
            fail(f"{policy} must hold a JSON list of rules", code=2)
    if not fields and not keys:
        fail("nothing to set: metamon apps set fa-ai sla_ms=800", code=2)
    with session_factory().begin() as session:
        changed = change_app(session, name, fields, keys, by=actor())
        record = get_app(session, name)
    if as_json:
        print_json(record)
    else:
        print("changed: " + ", ".join(changed) if changed else "nothing changed: it was so already")


def _document(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    content = _content(path)
    if not isinstance(content, dict):
        fail(f"{path} must hold a JSON object", code=2)
    return content


def _content(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}", code=2)
    except ValueError as error:
        fail(f"{path} is no JSON: {error}", code=2)
