"""Training a chain: rows, weights, rounds and errors by value, and the same bytes for the same history."""

import threading
import time

import numpy as np
import pytest
import xgboost

from schemas.events.rides import Int64s
from state.demand.features import FIRST_TABLE
from state.forecast.fit_steps import OnProgress
from state.forecast.sampling import SLACK, SamplePlan, Sampler
from state.forecast.training import CHAIN_PLAN, train_model
from state.models.chain import HALF_RIDES, LEAF_RIDES, LEAST_ROUNDS, MOST_ROUNDS, PARAMETERS, PENALTY_SHARE, Link, margin, unpack
from state.models.chain_fitting import Trial, fit_link, try_link
from state.models.glm import fit_glm
from tests.state.model_city import FIRST_SLOT, HOURLY, town_chain, town_slots

SLOTS = 1000


def sampled(plan: SamplePlan) -> Int64s:
    """Slots of the rows that a plan chooses from the town."""
    sample = Sampler(HOURLY, FIRST_SLOT, FIRST_SLOT + SLOTS, FIRST_TABLE, plan, 0)
    for known in town_slots(SLOTS):
        sample.take(known)
    return sample.busy.columns().slots


def test_the_same_history_gives_the_same_bytes() -> None:
    """Trained twice, on other numbers of threads, artefact, errors and parameters are equal; another sample gives another artefact."""
    words = {"threads": 3, "table": town_chain().table, "most_rows": 6_000}
    again, other = (
        train_model(HOURLY, town_slots(SLOTS), FIRST_SLOT, FIRST_SLOT + SLOTS, seed=seed, **words)  # type: ignore[arg-type]
        for seed in (0, 9)
    )
    assert town_chain() == again
    assert town_chain().artefact != other.artefact
    assert 2_000 <= again.rows <= SLACK * 6_000


def test_what_is_served_was_fitted_on_all_rows() -> None:
    """Linear model and trees are those of all labelled rows, weighted by age, with the rounds that the record names."""
    sample = Sampler(HOURLY, FIRST_SLOT, FIRST_SLOT + SLOTS, town_chain().table, SamplePlan(6_000, 7, 56, 4), 0)
    for known in town_slots(SLOTS):
        sample.take(known)
    rows = sample.busy.columns()
    _, _, links = unpack(town_chain().artefact)
    weights = 0.5 ** ((rows.slots.max() - rows.slots) / (28 * 24))
    rounds = [int(text) for text in town_chain().parameters["rounds"].split(",")]
    for i, link in enumerate(links):
        known_rows = ~np.isnan(rows.truth[:, i])
        x, y, w = rows.features[known_rows], rows.truth[known_rows, i], (weights / weights.mean())[known_rows]
        start = margin(x, town_chain().table, HOURLY.horizons, i)
        assert fit_glm(x, link.glm.columns, y, start, w, PENALTY_SHARE * float((w * y).sum())) == link.glm
        assert (1.0, HALF_RIDES) == (link.share, link.half_rides)
        logs = link.glm.log_means(x, start).astype(np.float32)
        data = xgboost.QuantileDMatrix(x[:, list(link.columns)], label=y, weight=w, base_margin=logs, nthread=1, max_bin=128)
        booster = xgboost.train({**PARAMETERS, "min_child_weight": LEAF_RIDES, "nthread": 1}, data, rounds[i])
        assert bytes(booster.save_raw("ubj")) == link.trees
        assert LEAST_ROUNDS <= rounds[i] <= MOST_ROUNDS


def test_held_out_errors_beat_the_baseline() -> None:
    """In a town of Poisson counts the errors are below the profile's, for every horizon, and the dispersion is small."""
    metrics = town_chain().metrics
    for horizon_min in HOURLY.horizons_min:
        assert metrics[f"rmse_{horizon_min}"] < metrics[f"baseline_rmse_{horizon_min}"]
        assert metrics[f"wape_{horizon_min}"] < metrics[f"baseline_wape_{horizon_min}"]
    assert max(unpack(town_chain().artefact)[0].dispersion_milli) < 150


@pytest.mark.parametrize(
    ("plan", "first"),
    [
        (SamplePlan(10**6, 7, 56, 4), 7 * 24),
        (SamplePlan(10**6, 4, 56, 4), 4 * 24),
        (SamplePlan(10**6, 7, 10, 4), SLOTS - 10 * 24),
    ],
)
def test_rows_are_of_the_days_that_the_plan_names(plan: SamplePlan, first: int) -> None:
    """None of the warm days, none that are too old, and in a region of hours every other slot but the last ones."""
    assert list(range(FIRST_SLOT + first, FIRST_SLOT + SLOTS - HOURLY.horizons[-1])) == np.unique(sampled(plan)).tolist()


def test_slots_are_thinned_to_the_rate_of_the_plan() -> None:
    """At a quarter of a slot per hour about a quarter of the slots are sampled."""
    slots = np.unique(sampled(SamplePlan(10**6, 7, 56, 0.25, enough_rows=0)))
    assert 0.2 < len(slots) / (SLOTS - 7 * 24) < 0.3
    assert 4 == CHAIN_PLAN.slots_per_hour  # every third slot of five minutes


def test_a_small_region_uses_all_of_its_slots() -> None:
    """Slots are not thinned below the rows that are enough, so that a quiet city can be trained on a few days."""
    assert SLOTS - 7 * 24 - HOURLY.horizons[-1] == len(np.unique(sampled(SamplePlan(10**6, 7, 56, 0.25))))


@pytest.mark.parametrize("threads", [1, 2])
def test_progress_says_what_happens(threads: int) -> None:
    """Building, the trial and the fit of each horizon are told, also of those at the same time, and shares of the fits only grow."""
    told: list[tuple[str, float]] = []
    train_model(
        HOURLY,
        town_slots(400),
        FIRST_SLOT,
        FIRST_SLOT + 400,
        threads=threads,
        table=town_chain().table,
        most_rows=3_000,
        on_progress=lambda stage, share: told.append((stage, share)),
    )
    once = dict.fromkeys(told)  # a step that takes long is told again
    network = "fitting a network of all horizons"
    stages = [stage.split(" rounds")[0].rstrip("0123456789") for stage, _ in once if stage.startswith("fitting")]
    assert f"{network}, to measure its error" == next(stage for stage in stages if stage.startswith(network))
    assert all(stage.startswith(network) for stage in stages[6:])
    stages = stages[:6]
    expected = [stage for h in HOURLY.horizons_min for stage in (f"fitting {h} min, to measure its error", f"fitting {h} min, ")]
    assert expected == stages if threads == 1 else sorted(expected) == sorted(stages)
    shares = [share for stage, share in told if stage.startswith("fitting")]
    assert sorted(shares) == shares
    assert all(0.0 <= share <= 1.0 for _, share in told)


def trained_in(threads: int, on_progress: OnProgress) -> None:
    """Train a small chain."""
    words = {"threads": threads, "table": town_chain().table, "most_rows": 3_000, "on_progress": on_progress}
    train_model(HOURLY, town_slots(400), FIRST_SLOT, FIRST_SLOT + 400, **words)  # type: ignore[arg-type]


def test_a_long_fit_is_told_again_by_the_thread_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a fit takes long, its stage is told again and again, so that nobody takes the process for hung; by one thread only."""
    told, tellers, often = list[str](), set[int](), threading.Event()

    def slow(*words: object) -> Link:
        assert often.wait(20)
        return fit_link(*words)  # type: ignore[arg-type]

    def on_progress(stage: str, share: float) -> None:
        told.append(stage)
        tellers.add(threading.get_ident())
        if max(told.count(one) for one in told) >= 3:
            often.set()

    monkeypatch.setattr("state.forecast.fit_steps.TELL_EVERY_S", 0.02)
    monkeypatch.setattr("state.forecast.training.fit_link", slow)
    trained_in(2, on_progress)
    assert {threading.get_ident()} == tellers


@pytest.mark.parametrize("threads", [1, 3])
def test_a_fit_that_fails_ends_the_others(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """The error of one horizon is raised, and no other horizon begins another step."""
    failed, fits = threading.Event(), list[int]()

    def first_fails(*words: object) -> Link:
        fits.append(1)
        failed.set()
        raise ValueError("no such tree")

    def late_trial(*words: object) -> Trial:
        found = try_link(*words)  # type: ignore[arg-type]
        if threads > 1 and fits_began.pop():
            failed.wait(20)
            time.sleep(0.2)
        return found

    fits_began = [True, True, False]  # the first horizon to end its trial goes on
    monkeypatch.setattr("state.forecast.training.try_link", late_trial)
    monkeypatch.setattr("state.forecast.training.fit_link", first_fails)
    with pytest.raises(ValueError, match="no such tree"):
        trained_in(threads, lambda stage, share: None)
    assert [1] == fits


def test_progress_may_end_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the callback raises, as when a person stops it, is raised once the fits that run have ended, and no further one begins."""

    def stop(stage: str, share: float) -> None:
        if stage.startswith("fitting"):
            raise KeyboardInterrupt

    def slow_trial(*words: object) -> Trial:
        time.sleep(0.3)
        return try_link(*words)  # type: ignore[arg-type]

    monkeypatch.setattr("state.forecast.fit_steps.TELL_EVERY_S", 0.001)
    monkeypatch.setattr("state.forecast.training.fit_link", lambda *words: pytest.fail("a fit began"))
    monkeypatch.setattr("state.forecast.training.try_link", slow_trial)
    with pytest.raises(KeyboardInterrupt):
        trained_in(1, stop)
