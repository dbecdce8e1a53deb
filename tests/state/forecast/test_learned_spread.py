"""A forecaster whose intervals learn: what it serves can be computed again, kept anywhere, and older versions are as they were."""

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from state.demand.history import CountHistory
from state.forecast.draft import Draft
from state.forecast.forecast import SPREAD_SINCE, Forecaster
from state.models.table import MODELS, ModelTable
from tests.differences import assert_same
from tests.state.model_city import FIRST_SLOT, HOURLY, fold, run_slot, town_model, town_slots

# The version also replaces a corrector; here only intervals are looked at.
OLD_MODELS = ModelTable(tuple(row for row in MODELS.means if row.since < SPREAD_SINCE), ())


def started(version: int, seed: int = 1) -> tuple[CountHistory, Forecaster]:
    """A forecaster of 400 slots of history that has issued nothing yet."""
    history, forecaster = CountHistory(HOURLY), Forecaster(HOURLY, "pickups", OLD_MODELS, version=version)
    forecaster.use(town_model().artefact)
    for known in town_slots(460, seed=seed)[:400]:
        fold(history, known)
    return history, forecaster


def drafts_of(history: CountHistory, forecaster: Forecaster, until: int = 460) -> tuple[dict[int, Draft], dict[tuple[int, int], int]]:
    """All that is issued from slot 400 on, and (slot, horizon) -> covered of first scores."""
    drafts: dict[int, Draft] = {}
    covered: dict[tuple[int, int], int] = {}
    for known in town_slots(460)[400:until]:
        fold(history, known)
        for score in forecaster.score(history, known.slot, 2):
            covered |= {(score.slot, row.horizon_min): row.covered for row in score.rows if not score.settled}
        drafts[known.slot] = forecaster.issue(history, known.slot)
        forecaster.learn(history, known.slot)
    return drafts, covered


def plain_levels(draft: Draft, i: int, mean_milli: int) -> list[float]:
    """The levels of a mean's band, as docs/accuracy.md says to find them."""
    band = [band for band in draft.spread[i].bands if band.from_milli <= mean_milli][-1]
    return [band.lower_milli / 1000, band.median_milli / 1000, band.upper_milli / 1000]


def test_intervals_can_be_computed_from_header_and_chunk() -> None:
    """Lower, median and upper of every cell follow from its served mean and dispersion and the levels of its band."""
    drafts, _ = drafts_of(*started(SPREAD_SINCE))
    draft = drafts[FIRST_SLOT + 459]
    columns = draft.columns
    assert {(100, 500, 900)} != {(b.lower_milli, b.median_milli, b.upper_milli) for spread in draft.spread for b in spread.bands}
    assert len(np.unique(columns.dispersion)) > 3
    for row in range(0, len(columns), 4):
        for i in range(len(columns.horizons_min)):
            mean, wide = columns.mean[row, i] / 1000, columns.dispersion[row, i] / 1000
            law = stats.nbinom(1 / wide, 1 / (1 + wide * mean)) if wide else stats.poisson(mean)
            expected = [1000 * int(law.ppf(level)) for level in plain_levels(draft, i, int(columns.mean[row, i]))]
            assert expected == [columns.lower[row, i], columns.median[row, i], columns.upper[row, i]]


def test_covered_is_the_expected_number_of_covered_cells() -> None:
    """Each cell adds the share of its step of F, after recalibration, that lies between 10 and 90 %."""
    drafts, covered = drafts_of(*started(SPREAD_SINCE))
    slot = FIRST_SLOT + 440
    draft, counts = drafts[slot], {int(cell): 0 for cell in drafts[slot].columns.cells}
    for known in town_slots(460)[441:442]:
        counts |= {int(c): int(n) for c, n in zip(known.cells.tolist(), known.counts.tolist(), strict=True) if int(c) in counts}
    total = 0.0
    for row, truth in enumerate(counts.values()):
        mean, wide = draft.columns.mean[row, 0] / 1000, draft.columns.dispersion[row, 0] / 1000
        law = stats.nbinom(1 / wide, 1 / (1 + wide * mean)) if wide else stats.poisson(mean)
        levels = plain_levels(draft, 0, int(draft.columns.mean[row, 0]))
        low, high = np.interp([law.cdf(truth - 1), law.cdf(truth)], [0, *levels, 1], [0, 0.1, 0.5, 0.9, 1])
        total += (min(high, 0.9) - min(max(low, 0.1), min(high, 0.9))) / (high - low) if high > 0.1 else 0.0
    assert round(total) == covered[slot + 1, 60]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_snapshot_anywhere_equals_an_uninterrupted_run(seed: int) -> None:
    """Restored from arrays at random slots, every number, score and digest is the same."""
    whole, cut = started(SPREAD_SINCE, seed), started(SPREAD_SINCE, seed)
    rng = np.random.default_rng(seed)
    for known in town_slots(460, seed=seed)[400:]:
        if rng.random() < 0.3:
            history, forecaster = CountHistory(HOURLY), Forecaster(HOURLY, "pickups", OLD_MODELS, version=SPREAD_SINCE)
            forecaster.use(town_model().artefact)
            history.from_arrays(cut[0].to_arrays())
            forecaster.from_arrays(cut[1].to_arrays())
            cut = history, forecaster
        assert_same(run_slot(*whole, known), run_slot(*cut, known), f"slot {known.slot}")
        assert whole[1].digest() == cut[1].digest()


def test_means_stay_and_older_versions_have_no_bands() -> None:
    """The version changes dispersion and quantiles alone; before it the header, the arrays and the scores are as they were."""
    old, new = drafts_of(*started(SPREAD_SINCE - 1)), drafts_of(*started(SPREAD_SINCE))
    for slot, draft in old[0].items():
        assert draft.columns.mean.tobytes() == new[0][slot].columns.mean.tobytes()
        assert not any(spread.bands for spread in draft.spread)
        assert 0 == len(np.setdiff1d(draft.columns.dispersion, [s.dispersion_milli for s in draft.spread] + quiet(draft)))
    history, forecaster = started(SPREAD_SINCE - 1)
    drafts_of(history, forecaster, 410)
    assert not [name for name in forecaster.to_arrays() if "spread" in name or "levels" in name]


def quiet(draft: Draft) -> list[int]:
    """Dispersions stated for quiet cells."""
    return [spread.quiet_dispersion_milli for spread in draft.spread]


def test_a_version_can_begin_between_two_slots() -> None:
    """Issues of before are scored as whole intervals, and kept beside those with bands."""
    history, forecaster = started(SPREAD_SINCE - 1)
    drafts_of(history, forecaster, 402)
    forecaster.follow(SPREAD_SINCE)
    slots = town_slots(460)
    fold(history, slots[402])
    [first, *_] = forecaster.score(history, slots[402].slot, 2)
    draft = forecaster.issue(history, slots[402].slot)
    forecaster.learn(history, slots[402].slot)
    assert all(spread.bands for spread in draft.spread)
    assert [60, 120] == [row.horizon_min for row in first.rows]
    again = Forecaster(HOURLY, "pickups", OLD_MODELS, version=SPREAD_SINCE)
    again.use(town_model().artefact)
    again.from_arrays(forecaster.to_arrays())
    assert forecaster.digest() == again.digest()
    fold(history, slots[403])
    assert forecaster.score(history, slots[403].slot, 2) == again.score(history, slots[403].slot, 2)


def test_a_window_is_learned_from_once() -> None:
    """When it settles it is scored again, and the spread stays as it is."""
    soon, late = started(SPREAD_SINCE), started(SPREAD_SINCE)
    for known in town_slots(460)[400:412]:
        for (history, forecaster), settle_slots in ((soon, 1), (late, 40)):
            fold(history, known)
            forecaster.score(history, known.slot, settle_slots)
            forecaster.issue(history, known.slot)
            forecaster.learn(history, known.slot)
    for name in ("spread_squares", "spread_excess", "spread_levels"):
        assert soon[1].to_arrays()[name].tobytes() == late[1].to_arrays()[name].tobytes()


@pytest.mark.parametrize("name", ["issued_dispersion", "issued_levels", "spread_squares"])
def test_the_digest_notices_a_changed_spread(name: str) -> None:
    """A snapshot with another dispersion, level or moment has another digest."""
    history, forecaster = started(SPREAD_SINCE)
    drafts_of(history, forecaster, 402)
    arrays = forecaster.to_arrays()
    arrays[name] = arrays[name] + np.ones(1, arrays[name].dtype)
    again = Forecaster(HOURLY, "pickups", OLD_MODELS, version=SPREAD_SINCE)
    again.use(town_model().artefact)
    again.from_arrays(arrays)
    assert forecaster.digest() != again.digest()
