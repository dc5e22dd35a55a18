"""Detectors that watch many series at once, one step at a time, in memory that does not grow: see docs/detection.md."""

from analysis.detection.result import THRESHOLD, Detection, chance_of
from analysis.detection.series import SeriesDetector
from analysis.detection.state import DetectorStateError

__all__ = ["THRESHOLD", "Detection", "DetectorStateError", "SeriesDetector", "chance_of"]
