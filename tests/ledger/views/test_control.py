"""Champions in force: the control log folded to any size, in any order of requests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dataflows.stream.stores import Stores, open_stores
from ledger.formats.merkle import EMPTY_ROOT
from ledger.store.continuing import continue_log
from ledger.views.control import Control, ControlView
from schemas.configuration.settings import Settings
from schemas.records.record_codec import encode
from schemas.records.records import CONTROL_LOG, ModelPromoted
from tests.ledger.places import Place
from tests.ledger.trainings import trained


def promotion(region: str, model: int, measure: str = "pickups") -> bytes:
    """The entry that puts a model in force."""
    return encode(ModelPromoted(region=region, measure=measure, model=bytes([model]) * 32, alias="champion", reason="a test"))


TRAINED = encode(trained(b"t" * 32))
ENTRIES = [
    TRAINED,
    promotion("nyc", 1),
    promotion("tehran", 2),
    promotion("nyc", 3, "requests"),
    promotion("nyc", 4),
    b"from a newer version",
    promotion("tehran", 2),
    promotion("nyc", 1),
]


def plain(size: int) -> dict[tuple[str, str], bytes]:
    """The champions after that many entries: the last promotion of each region and measure."""
    promotions = {
        1: ("nyc", "pickups", 1),
        2: ("tehran", "pickups", 2),
        3: ("nyc", "requests", 3),
        4: ("nyc", "pickups", 4),
        6: ("tehran", "pickups", 2),
        7: ("nyc", "pickups", 1),
    }
    return {(region, measure): bytes([model]) * 32 for at, (region, measure, model) in promotions.items() if at < size}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """A home with a control log of all these entries."""
    opened = open_stores(Settings.from_env({"RIDECAST_HOME": str(tmp_path_factory.mktemp("control") / "home")}))
    opened.ledger.append(CONTROL_LOG, 0, ENTRIES)
    yield opened
    opened.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.none(), st.integers(0, len(ENTRIES))), min_size=1, max_size=8))
def test_any_order_of_requests_gives_the_same(stores: Stores, sizes: list[int | None]) -> None:
    """In any order of requests, what is in force at a size depends on that size alone."""
    view = ControlView(stores.ledger)
    for size in sizes:
        at = len(ENTRIES) if size is None else size
        root = stores.ledger.root_at(CONTROL_LOG, at)
        control = view.latest() if size is None else view.at(at, root)
        assert (at, root, plain(at)) == (control.size, control.root, control.champions)


def test_the_newest_includes_later_appends(tmp_path: Path) -> None:
    """A view includes entries appended since, by its own or another process; an empty log has nothing in force."""
    one, other = (open_stores(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "home")})) for _ in range(2))
    view = ControlView(one.ledger)
    assert (0, EMPTY_ROOT, {}) == (view.latest().size, view.latest().root, view.latest().champions)
    other.ledger.append(CONTROL_LOG, 0, [promotion("nyc", 1)])
    assert {("nyc", "pickups"): b"\x01" * 32} == view.latest().champions
    before = view.latest()
    other.ledger.append(CONTROL_LOG, 1, [promotion("nyc", 2)])
    assert {("nyc", "pickups"): b"\x02" * 32} == view.latest().champions
    assert {("nyc", "pickups"): b"\x01" * 32} == before.champions  # a returned value does not change later
    one.close()
    other.close()


def test_a_log_that_was_set_back_is_folded_anew(tmp_path: Path) -> None:
    """What was promoted behind the point to which the control log was set back is not in force, continued or not."""
    place = Place(tmp_path)
    place.open().append(CONTROL_LOG, 0, ENTRIES[:2])
    view = ControlView(place.open())
    assert {("nyc", "pickups"): b"\x01" * 32} == view.latest().champions
    place.set_back(1, CONTROL_LOG)
    assert (1, {}) == (view.latest().size, view.latest().champions)
    ledger = place.open()
    continue_log(ledger, CONTROL_LOG, "restored from a copy")
    ledger.append(CONTROL_LOG, ledger.head(CONTROL_LOG).size, [promotion("nyc", 7)])
    assert {("nyc", "pickups"): b"\x07" * 32} == view.latest().champions
    assert ledger.head(CONTROL_LOG).root == view.latest().root
    place.abandon()


def test_nothing_is_read_twice(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view does not read entries again that it has already folded."""
    view = ControlView(stores.ledger)
    first = view.latest()
    monkeypatch.setattr(type(stores.ledger), "read_kinds", lambda *_: pytest.fail("read again"))
    assert first == view.latest() == view.at(first.size, first.root)
    assert isinstance(first, Control)
