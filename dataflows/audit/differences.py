"""Where a recomputed close differs from the recorded one: which arrow broke, at which number, and by how much.

An arrow is one step of the computation: counts follow from the rides, features from the counts, forecasts from the features
and the models. Each record of a close is the result of one arrow. Numbers are compared as served, integers in 1/1000 ride.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np

from ledger.formats.merkle import leaf_hash, root
from ledger.store.blobs import Blobs
from schemas.errors import DamagedError, NotFound
from schemas.events.cells import cell_text
from schemas.events.rides import Bools, Int64s
from schemas.forecasts.chunks import NUMBERS, ForecastColumns, unpack_blob
from schemas.records.count_table import from_table, tables_of
from schemas.records.record_codec import decode
from schemas.records.records import (
    FALLBACKS,
    CountTable,
    ForecastIssued,
    HorizonShort,
    HorizonSpread,
    PartitionsChanged,
    Record,
    SlotClosed,
    SlotScored,
    SourceChanged,
    SourceGap,
    StateDigested,
    UniverseChanged,
)
from schemas.regions import Region
from state.models.intervals import MEDIAN_MILLI, quantiles
from state.models.predictive import predictive

ONE_UNIT = 1  # 1/1000 ride, or 1/1000 of a weight
# Fields of an issue that depend on the last bit of a float.
INEXACT = ("features_digest", "arm_features_digest", "root", "blob", "online_weight_milli")
NOTHING = "nothing"


class Arrow(StrEnum):
    """The step that broke, in order of dependency."""

    COUNTS = "counts"  # from the rides and their cuts
    UNIVERSE = "universe"  # forecast cells, from the counts
    FEATURES = "features"  # from the counts
    FORECAST = "forecast"  # from the features and the models
    SCORES = "scores"  # from the counts and the served forecasts
    STATE = "state"  # digest of the whole state of the fold


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between a recorded and a recomputed entry.

    Attributes:
        index: Index of the recorded entry; of the slot's first entry if there is none.
        where: Field, cell or column.
        recorded, recomputed: The two values.
        units: Largest difference of served numbers, in 1/1000; -1 if nothing was served or the value is not a number.
        floating: Whether floating-point arithmetic in another environment can cause it.
    """

    arrow: Arrow
    index: int
    where: str
    recorded: str
    recomputed: str
    units: int = -1
    floating: bool = False

    def __str__(self) -> str:
        return f"{self.arrow}: entry {self.index}: {self.where}: recorded {self.recorded}, recomputed {self.recomputed}"


Chunks = Callable[[bytes], bytes | None]  # digest of a recomputed blob -> its bytes

ARROWS: dict[type[Record], Arrow] = {
    SourceGap: Arrow.COUNTS,
    HorizonShort: Arrow.COUNTS,
    SourceChanged: Arrow.COUNTS,
    PartitionsChanged: Arrow.COUNTS,
    SlotClosed: Arrow.COUNTS,
    UniverseChanged: Arrow.UNIVERSE,
    ForecastIssued: Arrow.FORECAST,
    SlotScored: Arrow.SCORES,
    StateDigested: Arrow.STATE,
}


def differences(
    region: Region, recorded: Sequence[tuple[int, bytes]], recomputed: Sequence[bytes], blobs: Blobs, remade: Chunks
) -> list[Difference]:
    """The differences between the entries of one close, the first broken arrow first.

    Args:
        recorded: (index, payload) of each recorded entry.
        recomputed: Payloads of the recomputed entries.
        blobs: Blobs that recorded entries name.
        remade: Blobs that recomputed entries name.
    """
    theirs = {_key(decode(payload)): (index, decode(payload)) for index, payload in recorded}
    mine = {_key(record): record for record in map(decode, recomputed)}
    found: list[Difference] = []
    for key in dict.fromkeys((*mine, *theirs)):
        index, there = theirs.get(key, (recorded[0][0], None))
        here = mine.get(key)
        if there == here:
            continue
        if there is None or here is None:
            present = there if there is not None else here
            assert present is not None
            kind = type(present).__name__
            found.append(Difference(ARROWS[type(present)], index, kind, kind if there else NOTHING, kind if here else NOTHING))
        else:
            found += _record_differences(region, index, there, here, blobs, remade)
    return sorted(found, key=lambda difference: list(Arrow).index(difference.arrow))


def _key(record: Record) -> tuple[object, ...]:
    """The fields that identify a record within a close."""
    names = ("measure", "settled", "partition")
    return (type(record), *(getattr(record, name, None) for name in names))


def _record_differences(region: Region, index: int, there: Record, here: Record, blobs: Blobs, remade: Chunks) -> Iterator[Difference]:
    if isinstance(there, SlotClosed) and isinstance(here, SlotClosed):
        yield from _counts(region, index, there, here, blobs, remade)
    elif isinstance(there, ForecastIssued) and isinstance(here, ForecastIssued):
        yield from _issue(region, index, there, here, blobs, remade)
    else:
        for name, a, b in field_differences(there, here):
            floating = isinstance(there, SlotScored) or (isinstance(there, StateDigested) and name == "models")
            yield Difference(ARROWS[type(there)], index, f"{type(there).__name__}.{name}", a, b, floating=floating)


def field_differences(there: object, here: object) -> Iterator[tuple[str, str, str]]:
    """(name, there, here) of each field that differs between two records; of a sequence, only the first element that differs."""
    for field in fields(there):  # type: ignore[arg-type]  # records are dataclasses
        a, b = getattr(there, field.name), getattr(here, field.name)
        if a == b:
            continue
        name = field.name
        if isinstance(a, tuple) and isinstance(b, tuple):
            if len(a) != len(b):
                yield f"{name}, their number", str(len(a)), str(len(b))
                continue
            place = next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
            name, a, b = f"{name}[{place}]", a[place], b[place]
            if hasattr(a, "__dataclass_fields__"):
                yield from ((f"{name}.{inner}", x, y) for inner, x, y in field_differences(a, b))
                continue
        yield name, _text(a), _text(b)


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


# --- counts ---------------------------------------------------------------------------------------


def _counts(region: Region, index: int, there: SlotClosed, here: SlotClosed, blobs: Blobs, remade: Chunks) -> Iterator[Difference]:
    for name, a, b in field_differences(there, here):
        if name.partition("[")[0].partition(",")[0] not in ("counts", "corrections", "counts_blob"):
            yield Difference(Arrow.COUNTS, index, name, a, b)
    try:
        theirs, mine = _tables(there, blobs.get), _tables(here, lambda digest: remade(digest) or blobs.get(digest))
    except (NotFound, DamagedError) as cause:
        yield Difference(Arrow.COUNTS, index, "counts_blob", str(cause), _text(here.counts_blob))
        return
    for what, table, again in zip(("counts", "corrections"), theirs, mine, strict=True):
        for measure in region.measures:
            yield from _table(region, index, what, measure, table.get(measure), again.get(measure))


def _tables(record: SlotClosed, get: Callable[[bytes], bytes]) -> tuple[dict[str, CountTable], dict[str, CountTable]]:
    counts, corrections = tables_of(record, get)
    return {table.measure: table for table in counts}, {table.measure: table for table in corrections}


def _table(region: Region, index: int, what: str, measure: str, there: CountTable | None, here: CountTable | None) -> Iterator[Difference]:
    a, b = _rows(there), _rows(here)
    wrong = [key for key in sorted({*a, *b}) if a.get(key, 0) != b.get(key, 0)]
    if wrong:
        slot, cell = wrong[0]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        where = f"{what} of {measure}, slot {slot}, cell {cell_text(cell, region.precision)}{more}"
        yield Difference(Arrow.COUNTS, index, where, f"{a.get((slot, cell), 0)} rides", f"{b.get((slot, cell), 0)} rides")


def _rows(table: CountTable | None) -> dict[tuple[int, int], int]:
    if table is None:
        return {}
    slots, cells, counts = from_table(table)
    return dict(zip(zip(slots.tolist(), cells.tolist(), strict=True), counts.tolist(), strict=True))


# --- forecasts ------------------------------------------------------------------------------------


def _issue(region: Region, index: int, there: ForecastIssued, here: ForecastIssued, blobs: Blobs, remade: Chunks) -> Iterator[Difference]:
    for what, told, made in (
        ("feature matrix", there.features_digest, here.features_digest),
        ("challenger's feature matrix", there.arm_features_digest, here.arm_features_digest),
    ):
        if told != made:
            yield Difference(Arrow.FEATURES, index, f"{there.measure}, digest of the {what}", told.hex(), made.hex(), floating=True)
    for name, a, b in field_differences(there, here):
        if name not in INEXACT:
            yield Difference(Arrow.FORECAST, index, f"{there.measure}, {name}", a, b)
    apart = abs(there.online_weight_milli - here.online_weight_milli)
    if apart:
        values = (str(there.online_weight_milli), str(here.online_weight_milli))
        yield Difference(Arrow.FORECAST, index, f"{there.measure}, online_weight_milli", *values, units=apart, floating=apart <= ONE_UNIT)
    if there.root != here.root:
        yield _chunks(region, index, there, here, blobs, remade)
    elif there.blob != here.blob:
        yield Difference(Arrow.FORECAST, index, f"{there.measure}, blob", there.blob.hex(), here.blob.hex())


def _chunks(region: Region, index: int, there: ForecastIssued, here: ForecastIssued, blobs: Blobs, remade: Chunks) -> Difference:
    """The first number that differs between two issues whose roots differ."""
    try:
        stored = unpack_blob(blobs.get(there.blob)) if there.blob else None
        if stored is None or root([leaf_hash(chunk) for chunk in stored.chunks]) != there.root:
            raise DamagedError("the stored chunks do not match the root in the entry")
        theirs = stored.columns(there.horizons_min)
    except (NotFound, DamagedError) as cause:
        return Difference(Arrow.FORECAST, index, f"{there.measure}, root of the chunks", f"{there.root.hex()} ({cause})", here.root.hex())
    data = remade(here.blob)
    mine = unpack_blob(data).columns(here.horizons_min) if data is not None else None
    if mine is None or not np.array_equal(theirs.cells, mine.cells) or theirs.horizons_min != mine.horizons_min:
        other = np.setxor1d(theirs.cells, mine.cells if mine is not None else theirs.cells[:0])
        first = cell_text(int(other[0]), region.precision) if len(other) else "none"
        where = f"{there.measure}, cells of the issue, the first of {len(other)} in only one of them: {first}"
        return Difference(Arrow.FORECAST, index, where, str(len(theirs)), str(len(mine) if mine is not None else 0))
    return _number(region, index, there, theirs, mine)


def _number(region: Region, index: int, issued: ForecastIssued, theirs: ForecastColumns, mine: ForecastColumns) -> Difference:
    measure = issued.measure
    codes = np.flatnonzero(theirs.fallback != mine.fallback)
    if len(codes):
        row = int(codes[0])
        recorded, recomputed = (FALLBACKS[int(columns.fallback[row])].value for columns in (theirs, mine))
        where = f"{measure}, cell {cell_text(int(mine.cells[row]), region.precision)}, fallback"
        return Difference(Arrow.FORECAST, index, where, recorded, recomputed)
    apart = np.stack([np.abs(getattr(theirs, name) - getattr(mine, name)) for name in NUMBERS], axis=1)  # int64[n, columns, h]
    if not apart.any():
        return Difference(Arrow.FORECAST, index, f"{measure}, bytes of the chunks", "equal numbers", "equal numbers")
    cells, most = int(apart.any(axis=(1, 2)).sum()), int(apart.max())
    units = np.where(_quantiles_explained(issued, theirs, mine), ONE_UNIT, apart) if most > ONE_UNIT else apart
    largest = int(units.max())
    row, column, horizon = (int(places[0]) for places in np.nonzero(units if largest <= ONE_UNIT else units > ONE_UNIT))
    where = (
        f"{measure}, cell {cell_text(int(mine.cells[row]), region.precision)}, {mine.horizons_min[horizon]} min, {NUMBERS[column]} "
        f"in 1/1000 ({cells} of {len(mine)} cells differ, by {most} at most)"
    )
    recorded, recomputed = (str(int(getattr(columns, NUMBERS[column])[row, horizon])) for columns in (theirs, mine))
    return Difference(Arrow.FORECAST, index, where, recorded, recomputed, units=largest, floating=largest <= ONE_UNIT)


def _quantiles_explained(issued: ForecastIssued, theirs: ForecastColumns, mine: ForecastColumns) -> Bools:
    """Which numbers are quantiles that differ only because a mean within one unit crosses a threshold: bool[n, columns, h].

    A quantile is a whole number of rides: at the edge between two of them, the last bit of the mean moves it by a thousand units.
    """
    explained = np.zeros((len(mine), len(NUMBERS), len(mine.horizons_min)), np.bool_)
    for i, spread in enumerate(issued.spread):
        near = np.abs(theirs.mean[:, i] - mine.mean[:, i]) <= ONE_UNIT
        if spread.bands:
            near &= np.abs(theirs.dispersion[:, i] - mine.dispersion[:, i]) <= ONE_UNIT
            low, high = _quantiles_around(spread, mine.mean[:, i], mine.dispersion[:, i])
            for column, name in enumerate(("lower", "median", "upper")):
                recorded = getattr(theirs, name)[:, i]
                explained[:, NUMBERS.index(name), i] = near & (low[:, column] <= recorded) & (recorded <= high[:, column])
            continue
        for name, probability in (("median", MEDIAN_MILLI), ("lower", spread.lower_milli), ("upper", spread.upper_milli)):
            recorded = getattr(theirs, name)[:, i]
            for milli in np.unique(mine.dispersion[:, i]).tolist():
                rows = np.flatnonzero(near & (mine.dispersion[:, i] == milli))
                low, high = (quantiles(np.maximum(mine.mean[rows, i] + step, 0) / 1000, milli, probability) * 1000 for step in (-1, 1))
                explained[rows, NUMBERS.index(name), i] = (low <= recorded[rows]) & (recorded[rows] <= high)
    unequal = np.stack([getattr(theirs, name) != getattr(mine, name) for name in NUMBERS], axis=1)
    return np.asarray(explained & unequal, np.bool_)


def _quantiles_around(spread: HorizonSpread, mean_milli: Int64s, dispersion_milli: Int64s) -> tuple[Int64s, Int64s]:
    """Least and largest lower, median and upper of means and dispersions within one unit: int64[n, 3] twice, 1/1000 ride."""
    found = [
        predictive(spread, np.maximum(mean_milli + step, 0), np.maximum(dispersion_milli + wider, 0)).quantiles() * 1000
        for step in (-ONE_UNIT, 0, ONE_UNIT)
        for wider in (-ONE_UNIT, 0, ONE_UNIT)
    ]
    return np.minimum.reduce(found), np.maximum.reduce(found)
