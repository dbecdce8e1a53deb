"""What `import` says about the rides that it wrote: counts, how the files were read, and what looks wrong."""

import csv
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from dataflows.connectors.delivery import Delivery
from dataflows.connectors.trips.review import clock_words, holes
from dataflows.connectors.trips.rides import EXAMPLES, RejectedRow, Trips
from schemas.errors import StoreUnavailable
from schemas.regions import Region

WARN_SHARE = 0.05  # share of places outside the region; the outliers of a city's own trips are fewer
SHARED_SHARE = 0.01  # of a file's rows that equal rows of earlier files; more is an overlap
AHEAD_S = 86_400  # clocks and zones differ by less


def report(trips: Trips, delivery: Delivery, kind: str, rejects: Path, outside: int) -> None:
    """Print the counts, with examples of what was rejected, and how each file was read."""
    first, last = (datetime.fromtimestamp(int(trips.occurred_at_us[row]) / 1e6, UTC) for row in (0, -1))
    rows = [("rows read", trips.received), ("rides", len(trips))]
    rows += [("  equal to an earlier row", trips.repeated)] if trips.repeated else []
    rows += [("  left out: id of an equal row", trips.duplicates)] if trips.duplicates else []
    rows += [("  outside the region", outside)] if outside else []
    rows += [(f"  rejected: {reason}", count) for reason, count in sorted(Counter(row.reason.value for row in trips.rejected).items())]
    rows += [("events written", delivery.delivered), ("  delivered twice", delivery.repeated)]
    for label, count in rows:
        click.echo(f"{label:<36}{count:>12,}")
    click.echo(f"from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC, as events of kind `{kind}`")
    names: dict[str, list[str]] = {}
    for table, how in zip(trips.tables, trips.how, strict=True):
        names.setdefault(how, []).append(table.path.name)
    for how, files in names.items():
        click.echo(f"{files[0] if len(files) == 1 else f'{files[0]} and {len(files) - 1} more'}: {how}.")
    if trips.rejected:
        for reason in sorted({row.reason for row in trips.rejected}):
            examples = [row for row in trips.rejected if row.reason is reason][:EXAMPLES]
            click.echo(f"{reason.value}: " + ", ".join(f"{row.path.name} {row.place}: {row.value!r}" for row in examples))
        click.echo(f"rejected rows are in {rejects}")


def warnings(trips: Trips, region: Region, ignored: tuple[Path, ...], outside: int, swapped: int, now_us: int) -> Iterator[str]:
    """What looks wrong, although it was written."""
    if ignored:
        shown = ", ".join(path.name for path in ignored[:5])
        yield f"{len(ignored):,} other files of the directories were not read: {shown}"
    if outside > WARN_SHARE * len(trips):
        share = f"{outside:,} of {len(trips):,} rides ({outside / len(trips):.0%})"
        turned = f"; {swapped:,} of them are inside with latitude and longitude swapped" if swapped else ""
        yield f"{share} are outside region {region.id} and will be rejected by intake{turned}"
    rows = Counter(trips.tables[number].path for number in trips.file.tolist()) if trips.shared else Counter[Path]()
    for path, count in trips.shared.items():
        if count > SHARED_SHARE * rows[path]:
            share = f"{count:,} of {rows[path]:,} rides"
            yield f"{path.name}: {share} equal rides of an earlier file and were written again; do the files overlap?"
    clock = clock_words(trips.occurred_at_us, region.timezone)
    if clock:
        yield clock
    yield from holes(trips.occurred_at_us, region.timezone).lines()
    if int(trips.occurred_at_us[-1]) > now_us + AHEAD_S * 1_000_000:
        yield f"the last ride is in the future: {trips.place(len(trips) - 1)}"


def write_rejects(path: Path, rejected: list[RejectedRow]) -> None:
    """Save rejected rows as CSV.

    Raises:
        StoreUnavailable: the disk refuses.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["file", "row", "reason", "text"])
            out.writerows([row.path.name, row.row, row.reason.value, row.text] for row in rejected)
    except OSError as cause:
        raise StoreUnavailable(f"--rejects: cannot write to {str(path)!r}: {cause.strerror}") from cause
