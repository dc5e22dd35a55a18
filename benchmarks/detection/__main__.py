"""How well the detectors find incidents, and how often they cry for nothing.

    python -m benchmarks.detection --data FILE.npz [--data OTHER.npz]   labelled series, or NAB, told by their keys
    python -m benchmarks.detection                                      what needs no data: rates, seconds
    python -m benchmarks.detection --picture FILE.svg                   a generated series, its band and its alarms

Prints one JSON document. The configuration and the threshold are those of `analysis.detection`; nothing is fitted to
the data. Three simple methods run beside ours: they have no threshold of their own, so their figures are those at the
best threshold, which is an advantage.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from analysis.detection import THRESHOLD
from benchmarks.detection import figures, methods, nab
from benchmarks.detection.events import Judge, Labelled


def on_labelled(data: Any) -> dict[str, Any]:
    """Score labelled series."""
    series = Labelled.read(data)
    judge = Judge(series)
    scores: dict[str, list[np.ndarray]] = {"metamon": [np.zeros(0)] * len(series.values)}
    for step in sorted(set(series.step_s)):
        chosen = [number for number, one in enumerate(series.step_s) if one == step]
        for number, found in zip(
            chosen, methods.ours([series.values[number] for number in chosen], step_s=step), strict=True
        ):
            scores["metamon"][number] = found
    for values, step in zip(series.values, series.step_s, strict=True):
        for name, found in methods.baselines(values, step_s=step).items():
            scores.setdefault(name, []).append(found)
    result: dict[str, Any] = {"events": judge.events, "series_weeks": round(judge.weeks, 1)}
    for name, found_all in scores.items():
        result[name] = judge.judge(found_all, THRESHOLD if name == "metamon" else None)
    return result


def on_nab(data: Any) -> dict[str, Any]:
    """Score the files of the Numenta Anomaly Benchmark."""
    files = nab.read(data)
    scores: dict[str, list[np.ndarray]] = {"metamon": []}
    for file in files:
        scores["metamon"] += methods.ours([file.values], step_s=file.step_s, times=file.times)
        for name, found in methods.baselines(file.values, step_s=file.step_s).items():
            scores.setdefault(name, []).append(found)
    result: dict[str, Any] = {"files": len(files), "windows": sum(len(file.windows) for file in files)}
    for name, found_all in scores.items():
        if name == "metamon":
            result[name] = nab.score(files, [found >= THRESHOLD for found in found_all])
            continue
        limits = np.geomspace(3, 300, 25)
        tried = [nab.score(files, [found >= limit for found in found_all]) for limit in limits]
        result[name] = max(tried, key=lambda profiles: profiles["standard"])
    return result


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--data", type=Path, action="append", default=[], help="npz file; may be given more than once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--series", type=int, default=10_000, help="series in the timed step")
    parser.add_argument("--picture", type=Path, help="draw a generated series into this SVG instead")
    asked = parser.parse_args()
    if asked.picture:
        from benchmarks.detection.picture import draw

        draw(asked.picture, seed=asked.seed)
        return
    result: dict[str, Any] = {}
    for path in asked.data:
        begun = time.perf_counter()
        with np.load(path, allow_pickle=False) as data:
            keys = set(data.files)
            if {"values", "labels", "offsets", "score_from", "step_s"} <= keys:
                found = on_labelled(data)
            elif keys and all(key.rpartition("|")[2] in {"t", "x", "windows"} for key in keys):
                found = on_nab(data)
            else:
                parser.error(f"{path} holds neither labelled series nor NAB: its keys are {sorted(keys)[:5]}")
        result[path.stem] = found | {"seconds": round(time.perf_counter() - begun, 1)}
    if not asked.data:
        result["rates"] = {
            **figures.false_pages(asked.seed),
            "windows_to_find": figures.delays(asked.seed),
            "score_of_1_of_3": figures.few(1),
        }
        result["step"] = figures.step_times(asked.series)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
