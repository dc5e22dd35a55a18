"""The six prompts: from the LangSmith hub at a pinned commit, else from this package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import structlog

from core.errors import NotFoundError, UnavailableError
from core.settings import Settings

if TYPE_CHECKING:
    from langsmith import Client

log = structlog.get_logger(__name__)

NAMES = (
    "meta_error_analyzer",
    "meta_improvement_proposer",
    "meta_root_cause_analyzer",
    "meta_validation_evaluator",
    "meta_anomaly_detector",
    "meta_impact_calculator",
)
"""The only prompts that are ever pulled: a manifest is configuration, not plain text."""

TEXT_CAP = 8000
HUB_TIMEOUT_MS = 5000


class HubError(UnavailableError):
    """The hub did not do what was asked."""


@dataclass(frozen=True)
class Prompt:
    """Instructions of one prompt."""

    name: str
    text: str
    source: str
    """`local`, or `hub:<commit>`."""


def local(name: str) -> Prompt:
    """Return the prompt that ships with the package.

    Raises:
        NotFoundError: it is none of the six.
    """
    if name not in NAMES:
        raise NotFoundError(f"there is no prompt {name!r}; the prompts are {', '.join(NAMES)}")
    return Prompt(name, files("llm").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8").strip(), "local")


def hub(settings: Settings) -> Client | None:
    """Return a client of the LangSmith hub, or None where no key is configured."""
    if settings.langsmith_api_key is None:
        return None
    from langsmith import Client

    return Client(
        api_url=settings.langsmith_endpoint,
        api_key=settings.langsmith_api_key.get_secret_value(),
        timeout_ms=HUB_TIMEOUT_MS,
        auto_batch_tracing=False,
    )


def find(name: str, client: Client | None, pins: Mapping[str, str] | None = None) -> Prompt:
    """Return the hub's prompt at its pinned commit, else the one that ships with the package.

    A prompt without a pin is the local one: whoever can push to a hub must not change what an installation says.

    Args:
        client: the hub; None where there is none.
        pins: commits by prompt.

    Raises:
        NotFoundError: it is none of the six.
    """
    fallback = local(name)
    commit = (pins or {}).get(name)
    if client is None or commit is None:
        return fallback
    try:
        return pull(name, client, commit)
    except Exception as error:  # noqa: BLE001 - whatever the hub does, the local prompt stands
        log.warning("prompt.local", name=name, commit=commit[:12], reason=type(error).__name__)
        return fallback


def pull(name: str, client: Client, commit: str | None = None) -> Prompt:
    """Return the hub's version of a prompt. The manifest's text is read; nothing in it is ever instantiated.

    Args:
        commit: hash, or the beginning of it; the newest where None.

    Raises:
        NotFoundError: it is none of the six.
        HubError: the manifest holds no text, or the hub answers with another commit.
    """
    local(name)
    got = client.pull_prompt_commit(f"{name}:{commit}" if commit else name, skip_cache=True)
    if commit is not None and not got.commit_hash.startswith(commit):
        raise HubError(f"asked for {name} at {commit}, the hub answered with {got.commit_hash[:12]}")
    texts = [text for text in _templates(got.manifest) if text.strip()]
    if not texts:
        raise HubError(f"the hub's {name} holds no text; `metamon prompts push` uploads ours")
    # We push text with its braces doubled, as an f-string template needs them.
    text = "\n\n".join(texts).replace("{{", "{").replace("}}", "}")
    return Prompt(name, text[:TEXT_CAP], f"hub:{got.commit_hash[:12]}")


def text_at(name: str, client: Client) -> str:
    """Return the text of any prompt at a commit (`name:commit`), for a prompt that is validated.

    Raises:
        HubError: the manifest holds no text.
    """
    commit = client.pull_prompt_commit(name, skip_cache=True)
    texts = [text for text in _templates(commit.manifest) if text.strip()]
    if not texts:
        raise HubError(f"the hub's {name} holds no text")
    return "\n\n".join(texts)


def push(name: str, client: Client) -> str:
    """Upload the local prompt; return where it can be seen. Pushing what the hub has already is success.

    Raises:
        NotFoundError: it is none of the six.
    """
    from langchain_core.prompts import ChatPromptTemplate

    text = local(name).text.replace("{", "{{").replace("}", "}}")
    template = ChatPromptTemplate.from_messages([("system", text)])
    try:
        return str(client.push_prompt(name, object=template, description="metamon"))
    except Exception as error:
        if re.search(r"nothing to commit|has not changed", str(error), re.IGNORECASE):
            return f"{name}: the hub has this version already"
        raise


def _templates(manifest: Any, depth: int = 0) -> list[str]:
    """Collect the `template` texts of a manifest, in order."""
    if depth > 12:
        return []
    found: list[str] = []
    if isinstance(manifest, dict):
        for key, value in manifest.items():
            if key == "template" and isinstance(value, str):
                found.append(value)
            else:
                found += _templates(value, depth + 1)
    elif isinstance(manifest, list):
        for item in manifest:
            found += _templates(item, depth + 1)
    return found
