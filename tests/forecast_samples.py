"""Small issues of forecasts, as the ledger holds them, for tests of whatever passes them on."""

import numpy as np

from schemas.forecasts.chunks import ForecastColumns, encode_chunks, pack_blob
from schemas.forecasts.messages import encode_demand_forecasts
from schemas.records.record_codec import encode
from schemas.records.records import ForecastIssued, HorizonSpread

HORIZONS_MIN = (15, 30, 60)
PRECISION = 6
FIRST_CELL = 427_000_000


def sample_columns(cells: int = 40, seed: int = 0) -> ForecastColumns:
    """Forecasts of some neighbouring cells, different for each seed."""
    random = np.random.default_rng(seed)
    mean, median, lower, upper, dispersion, baseline = random.integers(0, 20_000, (6, cells, len(HORIZONS_MIN)))
    codes = (FIRST_CELL + 3 * np.arange(cells)).astype(np.uint64)
    fallback = random.integers(0, 5, cells).astype(np.uint8)
    return ForecastColumns(codes, HORIZONS_MIN, mean, median, lower, upper, dispersion, baseline, fallback)


def sample_blob(columns: ForecastColumns) -> bytes:
    """Their chunks."""
    return pack_blob(encode_chunks(columns))


def sample_issued(
    columns: ForecastColumns, slot: int = 4_660_000, blob: bytes = b"", region: str = "nyc", measure: str = "pickups"
) -> ForecastIssued:
    """The record that names them."""
    return ForecastIssued(
        region=region,
        measure=measure,
        slot=slot,
        target_us=(slot + 1) * 300_000_000,
        horizons_min=HORIZONS_MIN,
        models=(),
        features_digest=b"f" * 32,
        family="negative_binomial",
        spread=tuple(
            HorizonSpread(horizon_min=h, dispersion_milli=100, quiet_dispersion_milli=200, lower_milli=100, upper_milli=900)
            for h in HORIZONS_MIN
        ),
        cells=len(columns),
        chunks=(len(columns) + 15) // 16,
        root=b"r" * 32,
        blob=blob,
        fallbacks={"none": len(columns)},
        universe_version=1,
        slot_status="observed",
    )


def sample_entry(columns: ForecastColumns, slot: int = 4_660_000, region: str = "nyc", measure: str = "pickups") -> bytes:
    """Its payload."""
    return encode(sample_issued(columns, slot, region=region, measure=measure))


def sample_messages(index: int, cells: int = 40) -> list[tuple[bytes, bytes | None]]:
    """What is published of the issue at a log index."""
    columns = sample_columns(cells, seed=index)
    return list(encode_demand_forecasts(columns, sample_issued(columns, 4_660_000 + index), index, PRECISION))
