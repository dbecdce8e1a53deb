"""Training: the same data give the same bytes, a bounded sample, and a model that knows more than the baseline."""

import pytest

from schemas.errors import UsageError
from state.forecast.sampling import SLACK
from state.forecast.training import train_model
from state.models.boosted import unpack
from tests.state.model_city import FIRST_SLOT, HOURLY, town_model, town_slots


def test_the_same_history_gives_the_same_bytes() -> None:
    """Trained twice, the artefact is identical; another sample gives another."""
    slots = town_slots(1000)
    again = train_model(HOURLY, slots, FIRST_SLOT, FIRST_SLOT + 1000, threads=1, most_rows=6_000)
    assert town_model().artefact == again.artefact
    other = train_model(HOURLY, slots, FIRST_SLOT, FIRST_SLOT + 1000, threads=1, most_rows=6_000, seed=9)
    assert town_model().artefact != other.artefact


def test_the_sample_is_bounded() -> None:
    """Rows stay near the bound however long the history is."""
    assert 2_000 <= town_model().rows <= SLACK * 6_000


def test_held_out_errors_beat_the_baseline() -> None:
    """In a town of Poisson counts the model's errors are below the profile's, for every horizon."""
    metrics = town_model().metrics
    for horizon_min in HOURLY.horizons_min:
        assert metrics[f"rmse_{horizon_min}"] < metrics[f"baseline_rmse_{horizon_min}"]
        assert metrics[f"wape_{horizon_min}"] < metrics[f"baseline_wape_{horizon_min}"]


def test_the_artefact_carries_what_goes_with_the_means() -> None:
    """Poisson counts have hardly any dispersion, and the quiet weights are not negative."""
    about, _ = unpack(town_model().artefact)
    assert max(about.dispersion_milli) < 100
    assert all(weight >= 0 for row in about.quiet_mix for weight in row)


def test_outages_and_late_rides_are_replayed() -> None:
    """Windows with an unobserved slot are no truth; the rest trains as ever."""
    slots = town_slots(1000, late=True, outage=range(600, 610))
    trained = train_model(HOURLY, slots, FIRST_SLOT, FIRST_SLOT + 1000, threads=1, most_rows=6_000)
    assert trained.rows >= 2_000


def test_too_little_history_says_so() -> None:
    """A day of slots is not enough, and the error says what was expected and what came."""
    slots = town_slots(24)
    with pytest.raises(UsageError, match="expected at least 2000 rows"):
        train_model(HOURLY, slots, FIRST_SLOT, FIRST_SLOT + 24, threads=1)
