"""Candidates for the sandbox: one that behaves as its configuration says, and the hostile ones."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any


def answer(inputs: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Answer with the number that was asked for, unless the configuration breaks this kind of question."""
    broken = str(config.get("breaks", ""))
    if broken and inputs.get("region") == broken:
        return {"text": "I do not know.", "value": -1}
    if config.get("raises") == inputs.get("region"):
        raise RuntimeError("the index is missing")
    time.sleep(float(config.get("sleep_ms", 0)) / 1000)
    return {"text": f"It is {inputs['n']}.", "value": inputs["n"], "cost": 0.001}


def hostile(inputs: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Do what `inputs.how` says."""
    return _WAYS[str(inputs["how"])](inputs)


def _bomb(_: Mapping[str, Any]) -> None:
    while True:
        os.fork()


def _memory(_: Mapping[str, Any]) -> None:
    held = []
    while True:
        held.append(bytearray(50 << 20))


def _hang(_: Mapping[str, Any]) -> None:
    signal.pause()


def _spin(_: Mapping[str, Any]) -> None:
    while True:
        pass


def _write(inputs: Mapping[str, Any]) -> str:
    with open(inputs["path"], "w") as file:
        file.write("mine")
    return "written"


def _read(inputs: Mapping[str, Any]) -> str:
    with open(inputs["path"]) as file:
        return file.read()


def _disk(_: Mapping[str, Any]) -> None:
    for number in range(1000):
        with open(f"junk{number}", "wb") as file:
            file.write(b"x" * (10 << 20))


def _print(_: Mapping[str, Any]) -> str:
    block = "x" * (1 << 20)
    for _number in range(1024):
        print(block)  # noqa: T201 - the misdeed
    return "printed a gigabyte"


def _connect(inputs: Mapping[str, Any]) -> str:
    with socket.create_connection(("127.0.0.1", inputs["port"]), timeout=2):
        return "connected"


def _kill(inputs: Mapping[str, Any]) -> str:
    os.kill(inputs["pid"], signal.SIGKILL)
    return "killed"


def _garbage(_: Mapping[str, Any]) -> str:
    for descriptor in range(3, 32):
        try:
            os.write(descriptor, b'{"nonce": "guess", "answer": "forged"}\n')
        except OSError:
            continue
    return "done"


def _daemon(inputs: Mapping[str, Any]) -> str:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sh", ["sh", "-c", f"sleep 600; : {inputs['name']}"])
        os._exit(0)
    return "left a daemon"


def _patch(_: Mapping[str, Any]) -> dict[str, Any]:
    import json

    from targets import evaluators

    evaluators.judge = lambda *a, **k: None  # type: ignore[assignment]
    evaluators.passes = lambda *a, **k: True
    time.perf_counter = lambda: 0.0
    json.dumps = lambda *a, **k: '{"answer": {"value": 42}}'
    return {"value": -1}


def _descriptors() -> list[str]:
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that lists is gone by now
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return found


_WAYS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "behave": lambda inputs: {"value": 42},
    "bomb": _bomb,
    "memory": _memory,
    "hang": _hang,
    "spin": _spin,
    "write": _write,
    "read": _read,
    "disk": _disk,
    "print": _print,
    "connect": _connect,
    "kill": _kill,
    "garbage": _garbage,
    "daemon": _daemon,
    "patch": _patch,
    "environment": lambda inputs: dict(os.environ),
    "descriptors": lambda inputs: _descriptors(),
    "folder": lambda inputs: [name for name in os.listdir() if name != "output"],
    "exit": lambda inputs: sys.exit(3),
    "_exit": lambda inputs: os._exit(7),
    "abort": lambda inputs: os.abort(),
    "raise": lambda inputs: 1 / 0,
    "big": lambda inputs: "x" * (10 << 20),
    "odd": lambda inputs: {"value": object()},
}
