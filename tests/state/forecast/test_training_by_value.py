"""Training by value: rows, labels, split, fits and errors against a plain account of them."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from state.forecast.sampling import KnownSlot
from state.forecast.training import TrainedModel, train_model
from state.models.boosted import Boosted, unpack
from state.models.quiet import fit_mix
from tests.state.demand.plain_counts import PlainClock, PlainCounts
from tests.state.demand.plain_seasons import plain_profile, plain_quiet
from tests.state.forecast.plain_training import (
    PlainSample,
    fitted,
    labelled,
    labels,
    means,
    plain_dispersion,
    plain_median,
    plain_sample,
    split,
)
from tests.state.model_city import FIRST_SLOT, HOURLY, town_slots

SLOTS = 240
QUIET_SEED = 1  # quiet rows come from slots whose chance with the next seed is below a tenth


@cache
def known() -> tuple[KnownSlot, ...]:
    """A town with corrections, an outage in what is held out, and undercounted slots in both parts."""
    slots = town_slots(SLOTS, late=True, outage=range(216, 217))
    return tuple(dataclasses.replace(one, whole=False) if i in (150, 228) else one for i, one in enumerate(slots))


@cache
def trained() -> TrainedModel:
    """The product's model of it, from every slot."""
    return train_model(HOURLY, known(), FIRST_SLOT, FIRST_SLOT + SLOTS, threads=1, most_rows=100_000)


def chance(slot: int, seed: int) -> float:
    """A number from 0 to 1 by the finaliser of splitmix64."""
    x = (slot * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03) & (2**64 - 1)
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (x ^ (x >> 31)) / 2**64


@cache
def sample() -> PlainSample:
    """The rows that it should have learned from."""
    return plain_sample(HOURLY, known(), [slot for slot in range(FIRST_SLOT, FIRST_SLOT + SLOTS) if chance(slot, QUIET_SEED) < 0.1])


def test_the_rows_are_those_of_busy_cells() -> None:
    """Every slot from the warm days on gives a row per cell that is not quiet, while its longest window still ends in the data."""
    assert len(sample().own) == trained().rows
    assert (FIRST_SLOT, FIRST_SLOT + SLOTS) == (trained().first_slot, trained().until_slot)


@pytest.mark.parametrize("i", range(3))
def test_held_out_errors_are_those_of_rows_that_were_not_trained_on(i: int) -> None:
    """Errors and dispersion are of a model fitted on the rows before the holdout, over the holdout, with labels of the next slots."""
    early, late = split(labelled(sample().own, i), HOURLY, FIRST_SLOT, FIRST_SLOT + SLOTS)
    assert len(early) > 1000
    assert len(late) > 200
    truth, said = labels(late, i), means(fitted(early, i), late, i)
    dispersion = plain_dispersion(truth.tolist(), said.tolist())
    base = np.array([row.baseline[i] for row in late])
    median = np.array([plain_median(mean, dispersion) for mean in said.tolist()])
    horizon_min = HOURLY.horizons_min[i]
    about, _ = unpack(trained().artefact)
    assert dispersion == pytest.approx(about.dispersion_milli[i], abs=1)
    metrics = trained().metrics
    assert np.sqrt(((truth - base) ** 2).mean()) == pytest.approx(metrics[f"baseline_rmse_{horizon_min}"])
    assert abs(truth - base).sum() / truth.sum() == pytest.approx(metrics[f"baseline_wape_{horizon_min}"])
    assert np.sqrt(((truth - said) ** 2).mean()) == pytest.approx(metrics[f"rmse_{horizon_min}"], rel=1e-4)
    assert abs(truth - median).sum() / truth.sum() == pytest.approx(metrics[f"wape_{horizon_min}"], rel=1e-3)


def test_the_trees_are_fitted_on_all_rows() -> None:
    """What is served says of every row what trees fitted on all labelled rows say, from its smooth profile on."""
    rows = sample().own
    served = Boosted(trained().artefact, HOURLY.horizons).means(np.array([row.features for row in rows]))
    for i in range(3):
        assert means(fitted(labelled(rows, i), i), rows, i) == pytest.approx(served[:, i], rel=1e-4)


def test_quiet_cells_are_fitted_on_their_own_rows() -> None:
    """Weights of the quiet parts, and the dispersion around them, come from rows of quiet cells in a tenth of the slots."""
    about, _ = unpack(trained().artefact)
    for i in range(3):
        rows = labelled(sample().quiet, i)
        assert len(rows) > 50
        parts = np.array([[row.parts[part][i] for row in rows] for part in range(3)])
        mix = fit_mix(parts, labels(rows, i))
        assert mix == pytest.approx(about.quiet_mix[i], rel=1e-6)
        said = mix[0] * parts[0] + mix[1] * parts[1] + mix[2] * parts[2]
        assert plain_dispersion(labels(rows, i).tolist(), said.tolist()) == pytest.approx(about.quiet_dispersion_milli[i], abs=1)


def test_a_holdout_is_at_most_a_week() -> None:
    """Of fifty days seven are held out, not ten: the baseline's errors are those of the last week."""
    slots = [dataclasses.replace(one, cells=one.cells[:5], counts=one.counts[:5]) for one in town_slots(50 * 24)]
    until = FIRST_SLOT + len(slots)
    metrics = train_model(HOURLY, slots, FIRST_SLOT, until, threads=1, most_rows=100_000).metrics
    counts, clock = PlainCounts(HOURLY), PlainClock(HOURLY)
    errors = []
    for one in slots:
        counts.close(one.slot, dict(zip(one.cells.tolist(), one.counts.tolist(), strict=True)))
        if until - 7 * 24 <= one.slot < until - 3:
            cells = [cell for cell in counts.universe(one.slot) if not plain_quiet(counts, one.slot, cell)]
            errors += [(one.slot, cell, plain_profile(counts, clock, one.slot, cell, (1, 2, 3))[1]) for cell in cells]
    squares = [(counts.total([cell], slot + 1, slot + 3) - base) ** 2 for slot, cell, base in errors]
    assert np.sqrt(np.mean(squares)) == pytest.approx(metrics["baseline_rmse_120"])
