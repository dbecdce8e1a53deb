"""Records covariates in the control log, each value once; and says which values a region has."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dataflows.connectors.covariate_files import CovariateRows
from dataflows.stream.stores import Stores
from ledger.store.log import Ledger
from ledger.views.append import append_decided
from ledger.views.regions import bootstrap_of
from schemas.errors import UsageError
from schemas.events.covariates import MILLI, NAMES
from schemas.events.rides import Int64s
from schemas.records.records import CONTROL_LOG, CovariatesKnown
from schemas.times import iso

ROWS_PER_RECORD = 2_500  # at most 16 bytes each, and an entry has at most 64 KiB
US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Imported:
    """How many values of a file were recorded, and how many the ledger had already."""

    new: int
    held: int


@dataclass(frozen=True, slots=True)
class Held:
    """The values of one covariate of a region.

    Attributes:
        values: How many, counting each forecast of a time.
        valid_from_s, valid_until_s: The first and the last time that one is for, seconds since 1970.
        known_s: When the newest became known.
    """

    region: str
    name: str
    values: int
    valid_from_s: int
    valid_until_s: int
    known_s: int


def record_covariates(stores: Stores, region: str, rows: CovariateRows, on_share: Callable[[float], None] = lambda share: None) -> Imported:
    """Append the values that the control log does not have yet, all or none; a close that begins then uses them.

    Raises:
        NotFound: the region is not bootstrapped here.
        UsageError: the ledger has another value for the same name, valid_at and known_at.
    """
    stores.ledger.admit_all()
    bootstrap_of(stores.ledger, region)
    counted = Imported(0, 0)

    def decide(size: int) -> list[CovariatesKnown]:
        nonlocal counted
        on_share(0.0)
        new = _new_rows(stores.ledger, region, rows, size)
        counted = Imported(len(new), len(rows) - len(new))
        on_share(0.5)
        return [_record(region, rows, new[i : i + ROWS_PER_RECORD]) for i in range(0, len(new), ROWS_PER_RECORD)]

    append_decided(stores.ledger, CONTROL_LOG, decide)
    return counted


def expect_no_others(ledger: Ledger, region: str, rows: CovariateRows | None) -> None:
    """Check that the ledger has no covariates of a region but those of a file, since models and forecasts would use them.

    Raises:
        UsageError: it has others, or another value for the same name, valid_at and known_at.
    """
    held = sum(one.values for one in held_covariates(ledger) if one.region == region)
    given = 0 if rows is None else len(rows)
    new = 0 if rows is None else len(_new_rows(ledger, region, rows, ledger.head(CONTROL_LOG).size))
    if held + new > given:
        expected = "no covariates" if rows is None else "only the covariates of the file"
        raise UsageError(
            f"--home: expected {expected} of region {region}, got {held + new - given:,} other values", remedy="use another --home"
        )


def held_covariates(ledger: Ledger) -> list[Held]:
    """What the control log has of each region and covariate, in order of region and name."""
    found: dict[tuple[str, str], Held] = {}
    for record in ledger.records(CONTROL_LOG, CovariatesKnown):
        codes, valid, known = (np.array(column, np.int64) for column in (record.name, record.valid_s, record.known_s))
        for i, name in enumerate(record.names):
            mine = codes == i
            if not mine.any():
                continue
            one = Held(record.region, name, int(mine.sum()), int(valid[mine].min()), int(valid[mine].max()), int(known[mine].max()))
            before = found.get((record.region, name))
            found[record.region, name] = one if before is None else _both(before, one)
    return [found[place] for place in sorted(found)]


def _both(one: Held, other: Held) -> Held:
    return Held(
        one.region,
        one.name,
        one.values + other.values,
        min(one.valid_from_s, other.valid_from_s),
        max(one.valid_until_s, other.valid_until_s),
        max(one.known_s, other.known_s),
    )


def _new_rows(ledger: Ledger, region: str, rows: CovariateRows, size: int) -> Int64s:
    """Places of the rows that the control log of a size does not have."""
    held: dict[tuple[int, int, int], int] = {}
    for stored in ledger.read_kinds(CONTROL_LOG, 0, size, (CovariatesKnown,)):
        record = stored.record
        if record.region == region:
            codes = [NAMES.index(name) if name in NAMES else -1 for name in record.names]
            places = zip((codes[code] for code in record.name), record.valid_s, record.known_s, strict=True)
            held.update(zip(places, record.values_milli, strict=True))
    new = []
    places = zip(rows.name.tolist(), rows.valid_s.tolist(), rows.known_s.tolist(), strict=True)
    for i, (place, value) in enumerate(zip(places, rows.values_milli.tolist(), strict=True)):
        before = held.get(place)
        if before is None:
            new.append(i)
        elif before != value:
            raise UsageError(
                f"region {region}: {NAMES[place[0]]} for {iso(place[1] * US_PER_S)}, known at {iso(place[2] * US_PER_S)}: expected "
                f"{before / MILLI:g} as recorded, got {value / MILLI:g}; nothing was imported",
                remedy="give a corrected value the time at which it was corrected as its known_at",
            )
    return np.array(new, np.int64)


def _record(region: str, rows: CovariateRows, places: Int64s) -> CovariatesKnown:
    codes = np.unique(rows.name[places])
    return CovariatesKnown(
        region=region,
        source=rows.source,
        names=tuple(NAMES[code] for code in codes.tolist()),
        name=tuple(np.searchsorted(codes, rows.name[places]).tolist()),
        valid_s=tuple(rows.valid_s[places].tolist()),
        known_s=tuple(rows.known_s[places].tolist()),
        values_milli=tuple(rows.values_milli[places].tolist()),
    )
