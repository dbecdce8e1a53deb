"""Backtests of past rides through the command line, as a user runs them."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tree import ROOT


@dataclass(frozen=True, slots=True)
class Errors:
    """One row of a backtest."""

    cells: int
    issues: int
    rmse: float
    wape: float
    bias: float
    coverage80: float | None


Rows = dict[tuple[str, int, str], Errors]  # (band, horizon in minutes, model)


def ridecast(*arguments: object) -> None:
    """Run a command of Ridecast.

    Raises:
        CalledProcessError: it failed.
    """
    subprocess.run([sys.executable, "-m", "ridecast", *map(str, arguments)], check=True, cwd=ROOT)


def backtest(rides: Path, region: object, train_until: str, test_until: str, out: Path, *more: str) -> dict[str, Rows]:
    """The rows of each measure, of a backtest with more options; the document itself is written to `out`."""
    dates = ("--train-until", train_until, "--test-until", test_until)
    ridecast("backtest", "--rides", rides, "--region", region, *dates, "--json", out, *more)
    document = json.loads(out.read_text("utf-8"))
    measures = {document["measure"]: document["rows"]} | document["other_measures"]
    return {measure: {_key(row): _errors(row) for row in rows} for measure, rows in measures.items()}


def _key(row: dict[str, Any]) -> tuple[str, int, str]:
    return row["band"], int(row["horizon_min"]), row["model"]


def _errors(row: dict[str, Any]) -> Errors:
    return Errors(row["cells"], row["issues"], row["rmse_mean"], row["wape_median"], row["bias"], row["coverage80"])
