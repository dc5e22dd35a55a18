"""`metamon prompts`: the six prompts, here and on the LangSmith hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import JsonFlag, err, fail, print_json, print_table

if TYPE_CHECKING:
    from langsmith import Client

app = typer.Typer(help="The six prompts: list, show, push, pull.", no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Argument(help="Prompts; all six where none is named.")]


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """List the prompts and where each comes from.

    Example: metamon prompts list
    """
    from core.settings import settings
    from llm.library import NAMES, find, hub

    client, pins = hub(settings()), settings().prompt_commits
    prompts = [find(name, client, pins) for name in NAMES]
    if as_json:
        print_json([{"name": p.name, "source": p.source, "characters": len(p.text)} for p in prompts])
        return
    if client is None:
        err.print("[dim]LANGSMITH_API_KEY is not set: the local prompts are used.[/dim]")
    print_table(["NAME", "SOURCE", "CHARACTERS"], [[p.name, p.source, len(p.text)] for p in prompts], empty="")


@app.command()
def show(
    name: str,
    local_only: Annotated[bool, typer.Option("--local", help="The version in this package.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show a prompt's text.

    Example: metamon prompts show meta_root_cause_analyzer
    """
    from core.settings import settings
    from llm.library import find, hub

    prompt = find(name, None if local_only else hub(settings()), settings().prompt_commits)
    if as_json:
        print_json({"name": prompt.name, "source": prompt.source, "text": prompt.text})
    else:
        err.print(f"[dim]{prompt.source}[/dim]")
        print(prompt.text)


@app.command()
def push(names: Names = None) -> None:
    """Upload the local prompts to the LangSmith hub.

    Example: metamon prompts push meta_error_analyzer
    """
    from llm.library import NAMES
    from llm.library import push as upload

    client = _hub()
    for name in names or NAMES:
        print(upload(name, client))


@app.command()
def pull(names: Names = None, as_json: JsonFlag = False) -> None:
    """Read the hub's newest prompts and say which commit each is: what METAMON_PROMPT_COMMITS may pin.

    Example: metamon prompts pull
    """
    from llm.library import NAMES
    from llm.library import pull as download

    client = _hub()
    prompts = [download(name, client) for name in names or NAMES]
    if as_json:
        print_json([{"name": p.name, "source": p.source, "text": p.text} for p in prompts])
        return
    print_table(["NAME", "SOURCE", "CHARACTERS"], [[p.name, p.source, len(p.text)] for p in prompts], empty="")


def _hub() -> Client:
    from core.settings import settings
    from llm.library import hub

    client = hub(settings())
    if client is None:
        fail("LANGSMITH_API_KEY is not set: there is no hub to speak to. The local prompts are in use.", code=2)
    return client
