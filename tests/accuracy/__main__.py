"""`python -m tests.accuracy NAME ...`: measure accuracy, print a table for each measure, and fail if a floor is missed."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from tests.accuracy.bikenyc import bikenyc
from tests.accuracy.nab import nab
from tests.accuracy.new_york import new_york
from tests.accuracy.planted import measure_planted
from tests.accuracy.results import Result, table_of
from tests.accuracy.sudden import cold, shift, surge
from tests.accuracy.uber import april, frozen, may
from tests.accuracy.weather import rain, weather
from tests.tree import ROOT

MEASURES: dict[str, Callable[[Path, Path], list[Result]]] = {
    "april": april,
    "may": may,
    "frozen": frozen,
    "bikenyc": bikenyc,
    "surge": surge,
    "shift": shift,
    "cold": cold,
    "rain": rain,
    "weather": weather,
    "planted": measure_planted,
    "nab": nab,
    "new_york": new_york,
}
FOLDER = ROOT / "build" / "accuracy"
NOT_BY_DEFAULT = {"april", "frozen", "rain", "weather", "planted", "new_york"}  # for choosing, not for judging


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(MEASURES)))
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "build" / "accuracy", help="Where to keep files."
)
def main(names: tuple[str, ...], folder: Path) -> None:
    """Measure accuracy; without NAMES, everything that is judged. Ride logs that are already in the folder are used again."""
    data = Path(os.environ.get("RIDECAST_SHARED") or ROOT.parent / "shared") / "data"
    if not data.is_dir():
        raise click.ClickException(f"{data}: no such directory; set RIDECAST_SHARED to the folder that has `data`")
    folder.mkdir(parents=True, exist_ok=True)
    console, missed = Console(), 0
    for name in names or [name for name in MEASURES if name not in NOT_BY_DEFAULT]:
        results = MEASURES[name](data, folder)
        console.print(table_of(name, results))
        (folder / f"{name}.results.json").write_text(json.dumps([result.to_json() for result in results], indent=2) + "\n", "utf-8")
        missed += sum(result.verdict == "missed" for result in results)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
