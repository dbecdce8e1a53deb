"""What intake has read, as a table of `ridecast status`: the newest slots from the ledger, and the last run from its tallies."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ledger.store.log import Ledger
from ledger.store.tally_files import read_tallies
from schemas.events.tally import IntakeTally, Totals, totals_of
from schemas.records.records import PartitionCut, SlotClosed, region_log
from schemas.regions import US_PER_S, Region
from state.counting.explain import time_of

NEWEST_ENTRIES = 3_000  # of a log: a day of slots has fewer; more would take seconds


def intake_table(ledger: Ledger, home: Path, regions: Sequence[Region], now_us: int) -> Table | None:
    """Read, accepted, rejected and uncounted events per region, and how far the newest slot is behind; None if nothing was read."""
    tallies = read_tallies(home)
    table = Table("region", "period", "read", "accepted", "duplicate", "rejected", "not counted", "lag", title="intake")
    for region in regions:
        closes = _newest(ledger, region)
        if closes:
            total = Totals()
            for close in closes:
                for cut in close.partitions:
                    _add(total, cut)
            table.add_row(region.id, f"newest {len(closes):,} slots", *_cells(total), _lag(region, closes[-1], now_us))
        run = totals_of(tallies, region.id)
        if run.received:
            table.add_row(region.id, _period(tallies, region), *_cells(run), "")
    return table if table.row_count else None


def example_lines(home: Path) -> list[str]:
    """One line per reason of rejection in the last run: an example, and the likely mistake."""
    lines: dict[str, str] = {}
    for tally in read_tallies(home):
        for reason, example in tally.examples.items():
            text = f"{reason}: for example partition {tally.partition}, offset {example.offset}: {example.detail}"
            lines.setdefault(reason, f"{text}; {example.guess}" if example.guess else text)
    return [line for _, line in sorted(lines.items())]


def _newest(ledger: Ledger, region: Region) -> list[SlotClosed]:
    """The closes of the last day of slots, or of as many as the newest entries hold."""
    log = region_log(region.id)
    size = ledger.head(log).size
    closes = [stored.record for stored in ledger.read(log, max(0, size - NEWEST_ENTRIES), size, SlotClosed)]
    return closes[-(1440 // region.slot_min) :]


def _add(total: Totals, cut: PartitionCut) -> None:
    numbers = {name: getattr(cut, name) for name in ("received", "accepted", "duplicate", "counted")}
    numbers |= {f"rejected.{reason}": number for reason, number in cut.rejected.items()}
    total.add(numbers | {f"uncounted.{reason}": number for reason, number in cut.uncounted.items()})


def _cells(total: Totals) -> tuple[Text, ...]:
    texts = [f"{total.received:,}", f"{total.accepted:,}", f"{total.duplicate:,}", _with_reasons(total.rejected)]
    return tuple(map(Text, [*texts, _with_reasons(total.uncounted)]))


def _with_reasons(numbers: dict[str, int]) -> str:
    """A sum and its parts.

    >>> _with_reasons({"undecodable": 3, "bad_id": 1})
    '4 (3 undecodable, 1 bad_id)'
    """
    parts = ", ".join(f"{number:,} {reason}" for reason, number in sorted(numbers.items(), key=lambda item: (-item[1], item[0])))
    return f"{sum(numbers.values()):,}" + (f" ({parts})" if parts else "")


def _period(tallies: Sequence[IntakeTally], region: Region) -> str:
    mine = [tally for tally in tallies if region.id in tally.regions]
    first, last = min(tally.started_at_us for tally in mine), max(tally.at_us for tally in mine)
    return f"{time_of(first)} to {datetime.fromtimestamp(last / US_PER_S, UTC):%H:%M:%S}"


def _lag(region: Region, newest: SlotClosed, now_us: int) -> str:
    behind_s = (now_us - (newest.slot + 1) * region.slot_us) // US_PER_S
    return f"{behind_s:,} s" if behind_s < 3 * 86_400 else f"{behind_s // 86_400:,} days"
