"""Waiting: each wait is longer up to a bound, spread by lot, and a series ends after steady work."""

from hypothesis import given, strategies as st

from ledger.store.waiting import Failures, Patience, failed

LOTS = st.floats(0.0, 1.0, exclude_max=True)


@given(st.integers(1, 10_000), LOTS, LOTS)
def test_a_wait_lies_within_its_bounds(tries: int, lot: float, other: float) -> None:
    """A wait lies between three quarters of its full length and all of it, as the lot says; a later try never waits less."""
    patience = Patience(first_s=0.5, longest_s=30.0, spread=0.25)
    full = min(30.0, 0.5 * 2.0 ** min(tries - 1, 60))
    assert 0.75 * full <= patience.wait_s(tries, lot) <= full <= 30.0
    assert 0.75 * full == patience.wait_s(tries, 0.0)
    assert patience.wait_s(tries, lot) <= patience.wait_s(tries + 1, lot)
    assert (patience.wait_s(tries, lot) <= patience.wait_s(tries, other)) or lot > other


def test_a_series_grows_until_the_work_is_steady() -> None:
    """Failures after short work are counted from the first one; after steady work the count begins anew."""
    patience = Patience(steady_after_s=60.0)
    series = None
    for number in range(1, 4):
        series = failed(series, 100.0 * number, worked_s=59.9, bug=number == 2, patience=patience)
    assert Failures(3, 100.0, 1) == series
    assert 250.0 == series.lasted_s(350.0)
    assert Failures(1, 400.0, 1) == failed(series, 400.0, worked_s=60.0, bug=True, patience=patience)
