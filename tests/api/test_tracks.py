"""A track shows each forecast beside the rides of the very same window."""

import numpy as np
import pytest

from api.context import ApiContext
from api.tracks import truth_of
from ledger.views.region_view import RegionView, SlotFacts
from schemas.events.cells import cell_texts
from schemas.records.records import SlotStatus
from tests.api.client import Client
from tests.api.town import START_SLOT, Town


@pytest.mark.parametrize(("horizon_min", "position"), [(15, 0), (60, 2)])
def test_forecast_and_truth_of_one_window(town: Town, client: Client, horizon_min: int, position: int) -> None:
    """Truth is the sum over the window's slots, and unknown while one of them is open."""
    cell = cell_texts(town.cells, 6)[1]
    points = client.get(f"/v1/regions/nyc/cells/{cell}/track?horizon_min={horizon_min}").json()["points"]
    assert town.slots == len(points)
    length = horizon_min // 5
    for slot, point in zip(range(START_SLOT, town.newest + 1), points, strict=True):
        columns = town.columns(slot)
        names = ("mean", "median", "lower", "upper", "baseline")
        assert [getattr(columns, name)[1, position] / 1000 for name in names] == [point[name] for name in names]
        window = range(slot + 1, slot + 1 + length)
        expected = sum(town.rides(s, 1) for s in window) if window[-1] <= town.newest else None
        assert expected == point["truth"]


def test_hours_bound_the_track(town: Town, client: Client) -> None:
    """Only the last hours come."""
    cell = cell_texts(town.cells, 6)[1]
    assert len(client.get(f"/v1/regions/nyc/cells/{cell}/track?hours=1").json()["points"]) == 12
    assert client.get(f"/v1/regions/nyc/cells/{cell}/track?hours=49").json()["field"] == "hours"


def test_a_cell_that_was_never_forecast_is_unknown(client: Client) -> None:
    """No forecast at all is 404, not a row of holes."""
    assert client.get("/v1/regions/nyc/cells/u4pruy/track").status_code == 404


@pytest.mark.parametrize("what", ["track", "history"])
def test_an_answer_is_never_older_than_its_tag(growing_town: Town, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A slot that closes once an answer is begun does not lend it its tag: asked again, it is not said to be unchanged."""
    client, newest, require = growing_town.client(), RegionView.newest, ApiContext.require_view
    begun: list[bool] = []
    grown: list[int] = []
    cell = cell_texts(growing_town.cells, 6)[1]
    address = f"/v1/regions/nyc/cells/{cell}/{what}"

    def overtaken(view: RegionView) -> SlotFacts | None:
        found = newest.fget(view)  # type: ignore[attr-defined]
        if begun and not grown:
            growing_town.close()
            grown.append(growing_town.newest)
            assert view.refresh()
        return found  # type: ignore[no-any-return]

    def begin(context: ApiContext, name: str) -> RegionView:
        view = require(context, name)
        begun.append(True)
        return view

    client.get(address)  # so that the view is folded
    monkeypatch.setattr(ApiContext, "require_view", begin)
    monkeypatch.setattr(RegionView, "newest", property(overtaken))
    etag = client.get(address).headers["etag"]
    assert grown
    assert client.get(address, if_none_match=etag).status_code == 200


@pytest.mark.parametrize(("statuses", "rides"), [("oo", 4), ("op", 4), ("ou", None), ("uo", None), ("o", None)])
def test_truth_of_an_outage_is_unknown(monkeypatch: pytest.MonkeyPatch, statuses: str, rides: int | None) -> None:
    """A window with a slot that was not observed, or is still open, has no truth; a partial slot counts what it has."""
    named = {"o": SlotStatus.OBSERVED, "p": SlotStatus.PARTIAL, "u": SlotStatus.UNOBSERVED}
    counts = {"pickups": (np.array([9], np.uint64), np.array([2]))}
    kept = {5 + at: SlotFacts(5 + at, at, named[status], counts) for at, status in enumerate(statuses)}
    monkeypatch.setattr(RegionView, "facts", lambda view, slot: kept.get(slot))
    view = RegionView.__new__(RegionView)
    assert rides == truth_of(view, "pickups", 9, 5, 2)
