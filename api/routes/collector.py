"""The part of LangSmith's protocol that the ordinary SDK needs, assembled.

The lead mounts `router_v1` at both `/` and `/api/v1`, `router_v2` at `/api/v2`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter

from api.auth import Ingest
from api.routes import collector_feedback, collector_runs, collector_sessions
from api.routes.collector_sessions import TENANT_ID
from traces.wire import MAX_BODY_BYTES

PROTOCOL_VERSION = "0.16.0"
"""The version of the LangSmith server whose protocol is spoken: from here on feedback that names its trace travels
in the multipart body, and the SDK's v2 client is content."""

router_v1 = APIRouter()
router_v2 = APIRouter()


@router_v1.get("/info")
def info() -> dict[str, Any]:
    """Tell the SDK what this server can do. Open: it is asked before the first upload, and says no secret."""
    return {
        "version": PROTOCOL_VERSION,
        "metamon_version": version("metamon"),
        "instance_flags": {
            "zstd_compression_enabled": True,
            "dataset_examples_multipart_enabled": True,
            # both: with the second alone the SDK demands a project and a start time to read a run
            "ch_query_enabled": True,
            "sdb_query_enabled": True,
        },
        "batch_ingest_config": {
            "use_multipart_endpoint": True,
            "size_limit": 1000,
            "size_limit_bytes": MAX_BODY_BYTES,
            "scale_up_qsize_trigger": 1000,
            "scale_up_nthreads_limit": 4,
            "scale_down_nempty_trigger": 4,
        },
    }


@router_v1.get("/settings")
def tenant_settings(bearer: Ingest) -> dict[str, Any]:
    """Describe the one tenant of this installation."""
    return {
        "id": str(TENANT_ID),
        "display_name": "metamon",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "tenant_handle": None,
    }


router_v1.include_router(collector_runs.router_v1)
router_v1.include_router(collector_feedback.router)
router_v1.include_router(collector_sessions.router)
router_v2.include_router(collector_runs.router_v2)
