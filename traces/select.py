"""Which source an app's runs come from."""

from __future__ import annotations

from core.errors import PermanentError
from core.settings import Settings
from db.session import Sessions
from traces.embedded import EmbeddedSource
from traces.source import TraceSource


class NoLangSmithKeyError(PermanentError):
    """An app's runs are in the LangSmith cloud, and there is no key to read them."""


def source_of(source: str, sessions: Sessions, settings: Settings) -> TraceSource:
    """Return the source for an app's `source` column.

    Raises:
        NoLangSmithKeyError: the cloud is asked for and LANGSMITH_API_KEY is not set.
    """
    public_url = settings.public_url or f"http://{settings.api_host}:{settings.api_port}"
    if source != "langsmith":
        return EmbeddedSource(sessions, public_url)
    from traces.langsmith_api import LangSmithApi
    from traces.langsmith_cloud import LangSmithSource

    key = settings.langsmith_api_key
    if key is None:
        raise NoLangSmithKeyError("the app's runs are in the LangSmith cloud: set LANGSMITH_API_KEY to read them")
    return LangSmithSource(
        sessions, lambda: LangSmithApi(settings.langsmith_endpoint, key), public_url, kept=settings.kept
    )
