"""Writes the dashboard's client types from the API's own schema: `python -m tests.browser.client`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from api.app import create_app

DASHBOARD = Path(__file__).parents[2] / "dashboard"
COMMITTED = DASHBOARD / "src" / "api" / "schema.d.ts"
GENERATOR = DASHBOARD / "node_modules" / "openapi-typescript" / "bin" / "cli.js"


def generated() -> str:
    """Return the types as the generator writes them for the API as it is now.

    Raises:
        FileNotFoundError: the generator is not installed: `npm ci` in dashboard/.
    """
    if not GENERATOR.exists():
        raise FileNotFoundError(f"{GENERATOR} is missing: run `npm ci` in {DASHBOARD.name}/")
    node = shutil.which("node") or "node"
    with tempfile.TemporaryDirectory() as folder:
        schema, types = Path(folder) / "openapi.json", Path(folder) / "schema.d.ts"
        schema.write_text(json.dumps(create_app().openapi()))
        command = [node, str(GENERATOR), str(schema), "--output", str(types), "--default-non-nullable", "false"]
        subprocess.run(command, check=True, capture_output=True, cwd=DASHBOARD, env={**os.environ, "NO_COLOR": "1"})
        return types.read_text()


if __name__ == "__main__":
    text = generated()
    changed = not COMMITTED.exists() or COMMITTED.read_text() != text
    COMMITTED.write_text(text)
    sys.stderr.write(f"{COMMITTED.name} {'written' if changed else 'is up to date'}\n")
