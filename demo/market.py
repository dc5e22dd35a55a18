"""The fictional companies: one CSV per snapshot version, and what each of its columns is called and measured in."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

SNAPSHOTS = Path(__file__).parent / "data" / "snapshots"
TRUTH = "2026-10"
"""The snapshot that holds the published figures. 2026-11 carries last year's figures for emea."""
REGIONS = ("amer", "emea", "apac")
FIGURES = ("revenue", "revenue_prior", "net_income", "debt", "equity", "employees", "founded", "dividend", "price")


class UnknownSnapshotError(LookupError):
    """The configuration names an index version that was never built."""


@dataclass(frozen=True)
class Company:
    """One company as one snapshot states it. Money is in millions of `currency`, dividend and price per share."""

    ticker: str
    name: str
    region: str
    sector: str
    currency: str
    figures: Mapping[str, float]


@lru_cache
def snapshot(version: str) -> dict[str, Company]:
    """Return the companies of a snapshot by ticker.

    Raises:
        UnknownSnapshotError: there is no such version.
    """
    path = SNAPSHOTS / f"{version}.csv"
    # The version comes from configuration: it names a file of ours or nothing.
    if path.parent != SNAPSHOTS or not path.is_file():
        known = ", ".join(sorted(file.stem for file in SNAPSHOTS.glob("*.csv")))
        raise UnknownSnapshotError(f"there is no index snapshot {version!r}; there are {known}")
    with path.open(newline="") as rows:
        return {
            row["ticker"]: Company(
                ticker=row["ticker"],
                name=row["name"],
                region=row["region"],
                sector=row["sector"],
                currency=row["currency"],
                figures={figure: float(row[figure]) for figure in FIGURES},
            )
            for row in csv.DictReader(rows)
        }


@lru_cache
def of_region(version: str, region: str) -> tuple[Company, ...]:
    """Return the companies that a region's index of this version holds."""
    return tuple(company for company in snapshot(version).values() if company.region == region)
