"""Where the runs of a validation are recorded, so that they open beside the app's own: the collector or LangSmith."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from core.errors import PermanentError, TransientError
from core.settings import Settings
from db.repositories import projects
from db.session import Sessions
from traces import ingest
from traces.select import NoLangSmithKeyError


class Experiments(Protocol):
    """A store of experiments."""

    def open(self, project_id: UUID, name: str, *, dataset_id: UUID, metadata: Mapping[str, Any]) -> None:
        """Make the experiment's project; made twice, it is there once."""
        ...

    def store(self, name: str, run: Mapping[str, Any], feedback: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
        """Record one ended run, in the collector's form, with its feedback; the same ids again change nothing.

        Raises:
            TransientError, PermanentError: it could not be recorded.
        """
        ...


class CollectorExperiments:
    """The collector's own store. An experiment's project names a dataset, and so is never monitored."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions

    def open(self, project_id: UUID, name: str, *, dataset_id: UUID, metadata: Mapping[str, Any]) -> None:
        """Make the project."""
        with self.sessions() as session, session.begin():
            projects.create(
                session,
                project_id=project_id,
                name=name,
                extra={"metadata": dict(metadata)},
                reference_dataset_id=dataset_id,
                upsert=True,
            )

    def store(self, name: str, run: Mapping[str, Any], feedback: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
        """Record one run."""
        upload = ingest.from_batch({"post": [dict(run)]}, now=now)
        for number, each in enumerate(feedback):
            upload.add_feedback(dict(each), f"feedback[{number}]", now=now)
        ingest.store(self.sessions, upload, now=now)


class LangSmithExperiments:
    """The LangSmith cloud, through its own client."""

    def __init__(self, settings: Settings) -> None:
        from langsmith import Client

        if settings.langsmith_api_key is None:
            raise NoLangSmithKeyError("the app's runs are in the LangSmith cloud: set LANGSMITH_API_KEY to add to them")
        self._client = Client(
            api_url=settings.langsmith_endpoint,
            api_key=settings.langsmith_api_key.get_secret_value(),
            auto_batch_tracing=False,
            timeout_ms=10_000,
        )

    def open(self, project_id: UUID, name: str, *, dataset_id: UUID, metadata: Mapping[str, Any]) -> None:
        """Make the project. The golden set is ours: there is no dataset over there to name."""
        with _told():
            self._client.create_project(name, metadata=dict(metadata), upsert=True)

    def store(self, name: str, run: Mapping[str, Any], feedback: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
        """Record one run."""
        fields = {key: value for key, value in run.items() if key not in ("session_id", "reference_example_id")}
        with _told():
            self._client.create_run(project_name=name, **fields)
            for each in feedback:
                self._client.create_feedback(
                    run_id=each["run_id"], key=each["key"], score=each["score"], feedback_id=each["id"]
                )


def experiments_of(source: str, sessions: Sessions, settings: Settings) -> Experiments:
    """Return where an app's experiments are recorded.

    Raises:
        NoLangSmithKeyError: in the cloud, and there is no key.
    """
    return LangSmithExperiments(settings) if source == "langsmith" else CollectorExperiments(sessions)


@contextmanager
def _told() -> Iterator[None]:
    from langsmith.utils import LangSmithAuthError, LangSmithConflictError, LangSmithError

    try:
        yield
    except LangSmithConflictError:
        pass  # it is recorded already
    except LangSmithAuthError:
        raise PermanentError("LangSmith refuses the key: check LANGSMITH_API_KEY") from None
    except LangSmithError as error:
        raise TransientError(f"LangSmith did not take the run: {type(error).__name__}") from None
