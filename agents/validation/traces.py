"""Both arms of a validation as runs of an experiment: what a reviewer opens to see what was really said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import structlog

from core.errors import MetamonError
from db.models.apps import App
from db.models.validation import ValidationResult
from db.repositories import validations
from db.session import Sessions
from traces.experiments import Experiments

log = structlog.get_logger(__name__)

NAMESPACE = UUID("6c9d2f0e-5a0b-4d3c-9f34-0c8f1f9a7b51")
"""Of all ids made here: the same execution has the same run id, however often it is recorded."""


def project_of(validation_id: int) -> UUID:
    """Return the id of a run's experiment."""
    return uuid5(NAMESPACE, f"validation:{validation_id}")


@dataclass(frozen=True)
class Tracer:
    """Records executions. That it fails costs the link, never the validation."""

    experiments: Experiments
    validation_id: int
    app: str
    dataset: str
    """Hash of the golden set."""
    configs: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """The experiment's name."""
        return f"{self.app}-validation-{self.validation_id}"

    def open(self) -> bool:
        """Make the experiment; False where it cannot be made."""
        try:
            self.experiments.open(
                project_of(self.validation_id),
                self.name,
                dataset_id=uuid5(NAMESPACE, f"dataset:{self.dataset}"),
                metadata={"metamon_validation": self.validation_id, "golden_hash": self.dataset},
            )
        except MetamonError as error:
            log.warning("validation.not_traced", validation_id=self.validation_id, reason=str(error))
            return False
        return True

    def trace(
        self, key: str, inputs: Mapping[str, Any], row: Mapping[str, Any], *, end: datetime, took: timedelta
    ) -> str | None:
        """Record one execution and return its run id, the target's own where it told one; None where it failed."""
        run_id = uuid5(NAMESPACE, f"run:{self.validation_id}:{row['case_id']}:{row['arm']}:{row['repeat']}")
        own: str | None = row["run_id"]
        start = end - took
        outputs = None if row["output"] is None else {"output": row["output"]}
        run = {
            "id": str(run_id),
            "trace_id": str(run_id),
            "dotted_order": f"{start:%Y%m%dT%H%M%S%fZ}{run_id}",
            "session_id": str(project_of(self.validation_id)),
            "name": f"{self.app} {row['arm']}",
            "run_type": "chain",
            "start_time": start.isoformat(),
            "end_time": end.isoformat(),
            "inputs": dict(inputs),
            "outputs": outputs,
            "error": row["error"],
            "reference_example_id": str(uuid5(NAMESPACE, f"case:{self.dataset}:{key}")),
            "extra": {
                "metadata": {
                    **{f"config.{name}": value for name, value in self.configs[row["arm"]].items()},
                    "arm": row["arm"],
                    "case": key,
                    "repeat": row["repeat"],
                    "metamon_validation": self.validation_id,
                }
            },
        }
        feedback = [
            {
                "id": str(uuid5(run_id, metric)),
                "run_id": str(run_id),
                "trace_id": str(run_id),
                "session_id": run["session_id"],
                "key": metric,
                "score": score,
                "created_at": end.isoformat(),
            }
            for metric, score in row["scores"].items()
        ]
        try:
            self.experiments.store(self.name, run, feedback, now=end)
        except MetamonError as error:
            log.warning("validation.not_traced", validation_id=self.validation_id, reason=str(error))
            return own
        return own or str(run_id)


def tracer(sessions: Sessions, validation_id: int, experiments: Experiments) -> Tracer | None:
    """Return the tracer of a run, its experiment open; None where it cannot be made."""
    with sessions() as session:
        validation = validations.get(session, validation_id)
        app = session.get_one(App, validation.app_id)
        made = Tracer(
            experiments,
            validation_id,
            app.name,
            validation.set_hash,
            {"baseline": validation.baseline, "candidate": validation.candidate},
        )
    if not made.open():
        return None
    with sessions() as session, session.begin():
        row: ValidationResult = validations.lock(session, validation_id)
        row.project_id = project_of(validation_id)
    return made
