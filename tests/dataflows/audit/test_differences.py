"""Differences between two issues: cells, fallbacks, units, and quantiles whose mean is at an edge."""

import dataclasses
import hashlib
import math

import numpy as np
import pytest

from dataflows.audit.differences import Arrow, Difference, differences
from ledger.formats.merkle import leaf_hash, root
from schemas.errors import NotFound
from schemas.events.cells import cell_text
from schemas.forecasts.chunks import ForecastColumns, encode_chunks, pack_blob
from schemas.records.record_codec import encode
from schemas.records.records import ForecastIssued, HorizonSpread
from schemas.regions import load_region
from state.models.intervals import LOWER_MILLI, MEDIAN_MILLI, UPPER_MILLI, thresholds

REGION = load_region("nyc")
OWN_MILLI, QUIET_MILLI = 150, 1_500
EDGE = math.ceil(thresholds(MEDIAN_MILLI, OWN_MILLI)[3] * 1000)  # the least mean, in units, whose median is four rides
CELLS = np.array([800_000_000 + 7 * i for i in range(20)], np.uint64)


class Blobs(dict[bytes, bytes]):
    """Blobs by digest."""

    def get(self, digest: bytes) -> bytes:  # type: ignore[override]  # as a store gives them
        if digest not in self:
            raise NotFound(f"blob {digest.hex()}: not in the store")
        return self[digest]


def columns(**changes: int) -> ForecastColumns:
    """Twenty cells with equal forecasts, with changes in the first one."""
    numbers = {name: np.full((20, 1), value) for name, value in (("mean", EDGE), ("median", 4_000), ("lower", 0), ("upper", 9_000))}
    numbers |= {"dispersion": np.full((20, 1), OWN_MILLI), "baseline": np.full((20, 1), 5_000)}
    fallback = np.zeros(20, np.uint8)
    for name, value in changes.items():
        (numbers[name] if name in numbers else fallback[:, None])[0, 0] = value
    return ForecastColumns(CELLS, (15,), fallback=fallback, **numbers)


def apart(theirs: ForecastColumns, mine: ForecastColumns, *, kept: bool = True, **changes: object) -> list[Difference]:
    """The differences between two issues with these numbers.

    Args:
        kept: Whether the recorded chunks are still there.
        changes: Of the recorded entry.
    """
    blobs, entries = Blobs(), []
    spread = (
        HorizonSpread(
            horizon_min=15, dispersion_milli=OWN_MILLI, quiet_dispersion_milli=QUIET_MILLI, lower_milli=LOWER_MILLI, upper_milli=UPPER_MILLI
        ),
    )
    for found in (theirs, mine):
        chunks = encode_chunks(found)
        whole = pack_blob(chunks)
        blobs[hashlib.sha256(whole).digest()] = whole
        tree = root([leaf_hash(chunk) for chunk in chunks])
        digest = hashlib.sha256(whole).digest()
        entries.append(
            ForecastIssued(
                region="nyc",
                measure="pickups",
                slot=1,
                target_us=600,
                horizons_min=(15,),
                models=(),
                features_digest=b"",
                family="",
                spread=spread,
                cells=len(found),
                chunks=len(chunks),
                root=tree,
                blob=digest,
                fallbacks={},
                universe_version=1,
                slot_status="observed",
            )
        )
    recorded = dataclasses.replace(entries[0], **changes)  # type: ignore[arg-type]  # fields by name
    stored = Blobs(blobs) if kept else Blobs()
    return differences(REGION, [(7, encode(recorded))], [encode(entries[1])], stored, blobs.get)  # type: ignore[arg-type]  # only `get` is asked


def test_equal_issues_do_not_differ() -> None:
    """Equal issues give no difference."""
    assert [] == apart(columns(), columns())


@pytest.mark.parametrize(
    ("mean", "median", "within"),
    [
        (EDGE - 1, 4_000, True),  # one unit, the same median
        (EDGE - 1, 3_000, True),  # the mean's last bit decides on which side of the edge it is
        (EDGE, 3_000, True),  # both round to the same mean
        (EDGE - 1, 5_000, False),  # no nearby mean gives it
        (EDGE - 2, 3_000, False),
        (EDGE - 2, 4_000, False),
    ],
)
def test_a_quantile_at_its_edge_is_within_one_unit(mean: int, median: int, within: bool) -> None:
    """If a mean is at the edge of a quantile, its last bit, which environments may change, moves the quantile by a whole ride."""
    [found] = apart(columns(mean=mean, median=median), columns())
    assert (Arrow.FORECAST, within) == (found.arrow, found.floating)
    assert within == (0 <= found.units <= 1)


def test_the_worst_number_is_named() -> None:
    """Of several differences the worst is reported, with its cell, its column and the number of cells that differ."""
    [found] = apart(columns(mean=EDGE + 1, baseline=7_000), columns())
    assert f"pickups, cell {cell_text(int(CELLS[0]), 6)}, 15 min, baseline in 1/1000 (1 of 20 cells differ, by 2000 at most)" == found.where
    assert ("7000", "5000", 2_000) == (found.recorded, found.recomputed, found.units)
    assert f"forecast: entry 7: {found.where}: recorded 7000, recomputed 5000" == str(found)


def test_another_fallback_is_named() -> None:
    """A cell that another model served is reported with both models' names."""
    [found] = apart(columns(fallback=3), columns())
    assert ("quiet", "none") == (found.recorded, found.recomputed)
    assert found.where.endswith(", fallback")


def test_other_cells_are_named() -> None:
    """A cell that only one issue has is reported."""
    fewer = ForecastColumns(CELLS[1:], (15,), *(np.zeros((19, 1), np.int64),) * 6, np.zeros(19, np.uint8))
    found = apart(fewer, columns())
    assert ("pickups, cells", "19", "20") == (found[0].where, found[0].recorded, found[0].recomputed)
    assert any(f"the first of 1 in only one of them: {cell_text(int(CELLS[0]), 6)}" in difference.where for difference in found)


def test_missing_or_other_chunks_are_reported() -> None:
    """Without the recorded chunks the roots are compared, and chunks that do not hash to the recorded root are reported."""
    [gone] = apart(columns(mean=1), columns(), kept=False)
    assert "not in the store" in gone.recorded
    [other] = apart(columns(mean=1), columns(), root=bytes(32))
    assert "the stored chunks do not match the root in the entry" in other.recorded


def test_a_missing_entry_is_reported() -> None:
    """An entry that only one side has is reported with its kind."""
    entry = encode(
        ForecastIssued(
            region="nyc",
            measure="pickups",
            slot=1,
            target_us=0,
            horizons_min=(),
            models=(),
            features_digest=b"",
            family="",
            spread=(),
            cells=0,
            chunks=0,
            root=b"",
            blob=b"",
            fallbacks={},
            universe_version=0,
            slot_status="",
        )
    )
    [found] = differences(REGION, [(3, entry)], [], Blobs(), Blobs().get)  # type: ignore[arg-type]  # only `get` is asked
    assert ("ForecastIssued", "nothing", 3) == (found.recorded, found.recomputed, found.index)
