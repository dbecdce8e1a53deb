"""Which model serves a slot if some are missing, damaged, of another kind, late or slow; and replays of what was served."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflows.audit.deep import fold_again
from dataflows.audit.replay_report import Verdict
from dataflows.stream.routing import SLOW_SLOTS
from ledger.store.blobs import Retention
from ledger.store.log import holds
from ledger.views.append import append_shared
from ledger.views.closes import closes
from ledger.views.control import ControlView
from schemas.errors import NotFound, StoreUnavailable
from schemas.records.record_codec import encode
from schemas.records.records import CONTROL_LOG, Fallback, ForecastIssued, RegionHeld
from state.forecast.routes import GLOBAL_SCOPE
from state.models.chain import MAGIC
from tests.dataflows.stream.routed_town import LOG, TOWN, RoutedTown
from tests.state.model_city import town_chain, town_model

Damage = Callable[[Path], object]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[RoutedTown]:
    """A town without a model."""
    found = RoutedTown(tmp_path / "home")
    yield found
    found.stores.close()


def truncate(path: Path) -> None:
    """Cut the second half of a file off."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def swap(path: Path) -> None:
    """Put other bytes of the same length there."""
    path.write_bytes(bytes(path.stat().st_size))


def same_again(town: RoutedTown) -> None:
    """Fold and replay everything: each byte and each digest is reproduced."""
    found = town.replay()
    assert {Verdict.IDENTICAL: len(found.slots)} == found.verdicts, found.first_bad
    stores = town.stores
    assert fold_again(stores.ledger, stores.blobs, stores.environment, TOWN.id, lambda done, total: None) == []


@pytest.mark.parametrize(("damage", "why"), [(Path.unlink, "missing"), (truncate, "damaged"), (flip, "damaged"), (swap, "damaged")])
def test_an_artefact_that_cannot_be_read_costs_no_close(town: RoutedTown, damage: Damage, why: str) -> None:
    """The next close is served without it and says why; when it is back it serves again; a replay later finds the same."""
    digest = town.promote(town_model().artefact)
    path = town.path_of(digest)
    damage(path)
    [first] = town.close()
    assert ((), (), {"champion": why}) == (first.models, first.roles, first.reasons)
    assert {Fallback.LEVEL} == town.served_by(first)
    town.stores.blobs.put(town_model().artefact, Retention.MODEL)
    [healed] = town.close()
    assert ((digest,), (), {}) == (healed.models, healed.roles, healed.reasons)
    assert Fallback.NONE in town.served_by(healed)
    same_again(town)


def test_the_parents_model_stands_in_then_the_global_one(town: RoutedTown) -> None:
    """Own, parent's, global, none: each issue names its model, its role and why the ones before it did not serve."""
    parents, shared = town.promote(town_chain().artefact, "elder"), town.promote(town_model().artefact, GLOBAL_SCOPE)
    [by_parent] = town.close()
    assert ((parents,), ("parent",), {"champion": "no-model"}) == (by_parent.models, by_parent.roles, by_parent.reasons)
    assert town.served_by(by_parent) == {Fallback.PARENT, Fallback.QUIET}
    assert town.columns(by_parent).fallback.tolist().count(1) == by_parent.fallbacks["parent"]
    town.path_of(parents).unlink()
    town.forget()
    [by_all] = town.close()
    assert ((shared,), ("global",)) == (by_all.models, by_all.roles)
    assert {"champion": "no-model", "parent": "missing"} == by_all.reasons
    assert town.served_by(by_all) == {Fallback.GLOBAL, Fallback.QUIET}
    town.path_of(shared).unlink()
    town.forget()
    [by_none] = town.close()
    assert ((), {"champion": "no-model", "parent": "missing", "global": "missing"}) == (by_none.models, by_none.reasons)
    for artefact in (town_chain().artefact, town_model().artefact):
        town.stores.blobs.put(artefact, Retention.MODEL)
    own = town.promote(town_model().artefact)
    [by_own] = town.close()
    assert ((own,), (), {}) == (by_own.models, by_own.roles, by_own.reasons)
    same_again(town)


def test_a_promotion_may_come_before_its_artefact(town: RoutedTown) -> None:
    """Until the artefact arrives, the model is missing; the first close after that uses it."""
    digest = town.promote(town_model().artefact, stored=False)
    assert [{"champion": "missing"}] * 2 == [issued.reasons for issued in town.close(2)]
    assert digest == town.stores.blobs.put(town_model().artefact, Retention.MODEL)
    assert (digest,) == town.close()[0].models
    same_again(town)


def other_table() -> bytes:
    """A chain of a feature table that this version does not know."""
    artefact = town_chain().artefact
    for version in range(1, 9):
        found = artefact.replace(b'"table":%d' % version, b'"table":%d' % 9)
        if found != artefact:
            return found
    raise AssertionError("no table in the header")


@pytest.mark.parametrize(
    ("artefact", "why"), [(other_table, "incompatible"), (lambda: b"no model", "damaged"), (lambda: MAGIC + b"{}", "damaged")]
)
def test_a_model_that_does_not_fit_is_not_used(town: RoutedTown, artefact: Callable[[], bytes], why: str) -> None:
    """A newer Ridecast's table, and bytes that are no model, are recorded as such, and the global model serves instead."""
    shared = town.promote(town_model().artefact, GLOBAL_SCOPE)
    town.promote(artefact())
    [issued] = town.close()
    assert ((shared,), ("global",), {"champion": why}) == (issued.models, issued.roles, issued.reasons)
    same_again(town)


def test_a_store_that_gives_an_artefact_not_out_is_a_reason(town: RoutedTown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to read it, the model is unreadable, not the region halted."""
    digest, get = town.promote(town_model().artefact), town.stores.blobs.get

    def denied(wanted: bytes) -> bytes:
        if wanted == digest:
            raise StoreUnavailable(f"blob {wanted.hex()}: Permission denied")
        return get(wanted)

    monkeypatch.setattr(town.stores.blobs, "get", denied)
    assert {"champion": "unreadable"} == town.close()[0].reasons
    monkeypatch.undo()
    assert (digest,) == town.close()[0].models
    same_again(town)


def test_a_slow_model_rests(town: RoutedTown) -> None:
    """After a close beyond its budget, the model is not used for a number of slots, and the record says so."""
    digest = town.promote(town_model().artefact)
    [before] = town.close()
    town.router.too_slow([digest], before.slot, 7.5, 5.0)
    resting = town.close(SLOW_SLOTS)
    assert [{"champion": "slow"}] * SLOW_SLOTS == [issued.reasons for issued in resting]
    assert (digest,) == town.close()[0].models
    same_again(town)


def test_a_held_region_uses_nobodys_model(town: RoutedTown) -> None:
    """A hold means no trained model at all: the fold failed with one."""
    town.promote(town_model().artefact, GLOBAL_SCOPE)
    append_shared(town.stores.ledger, CONTROL_LOG, RegionHeld(region=TOWN.id, slot=town.slot, reason="a test"))
    [issued] = town.close()
    assert ((), {"champion": "held"}) == (issued.models, issued.reasons)
    same_again(town)


def test_a_record_cannot_make_up_a_reason(town: RoutedTown) -> None:
    """What follows from the control log is not believed: an issue that says there is no model is different from its replay."""
    town.promote(town_model().artefact)
    town.close()
    [close] = closes(town.stores.ledger, LOG)
    [issued] = [stored for stored in close.after if holds(stored, ForecastIssued)]
    control = ControlView(town.stores.ledger).latest()
    for why, role in (("no-model", None), ("missing", "champion")):
        lied = dataclasses.replace(issued.record, models=(), reasons={"champion": why})
        forged = dataclasses.replace(close, after=(dataclasses.replace(issued, payload=encode(lied)),))
        used = town.router.recorded(control, forged)["pickups"]
        assert (b"" if role else issued.record.models[0]) == used.digest


def test_a_model_that_served_is_needed_to_replay(town: RoutedTown) -> None:
    """What was served by a model that is gone now cannot be folded again; the message names the model."""
    digest = town.promote(town_model().artefact)
    town.close()
    town.path_of(digest).unlink()
    with pytest.raises(NotFound, match=f"model {digest.hex()}: its artefact is missing, so no forecast since it was promoted"):
        town.replay()


def test_an_older_fold_knows_only_champions(tmp_path: Path) -> None:
    """Before version 5, no parent stands in, nothing is added to the record, and a missing artefact is the run's to handle."""
    town = RoutedTown(tmp_path / "home", version=4)
    town.promote(town_model().artefact, GLOBAL_SCOPE)
    [issued] = town.close()
    assert ((), (), {}) == (issued.models, issued.roles, issued.reasons)
    digest = town.promote(town_model().artefact)
    town.close()
    town.path_of(digest).unlink()
    town.router.live(ControlView(town.stores.ledger).latest(), town.slot)  # it is still in memory
    town.stores.close()


def test_an_artefact_in_use_is_stored_again(town: RoutedTown) -> None:
    """A blob that somebody deletes while its model serves is put back from memory, so that a replay finds it."""
    digest = town.promote(town_model().artefact)
    town.close()
    town.path_of(digest).unlink()
    town.router.mend()
    assert town_model().artefact == town.path_of(digest).read_bytes()
    same_again(town)
