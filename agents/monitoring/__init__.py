"""Monitoring: restate what changed, judge every metric, move its alert."""
