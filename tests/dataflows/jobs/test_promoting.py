"""Decisions that several processes make at once: each follows from what the control log holds when it is appended."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflows.jobs import promoting
from dataflows.stream.stores import Stores
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from ledger.views.model_story import MeasureStory, Stories, stories_of
from schemas.errors import UsageError
from schemas.records.records import CONTROL_LOG, Cause, ModelHeld, ModelPromoted, ModelRejected, ModelReleased, ModelTrained
from tests.dataflows.jobs.shifting_town import TOWN, Town

PLACE = (TOWN.id, "pickups")


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    """A home whose champion replaced another model and has a challenger; MLflow has tests of its own."""
    monkeypatch.setattr("dataflows.jobs.promoting.track_aliases", lambda *_, **__: None)
    town = Town(tmp_path / "home")
    for name in ("old", "new"):
        model = town.stores.blobs.put(name.encode(), Retention.MODEL)
        append_shared(town.stores.ledger, CONTROL_LOG, trained(model))
        promoting.promote_model(town.stores, model.hex())
    append_shared(town.stores.ledger, CONTROL_LOG, trained(town.stores.blobs.put(b"challenger", Retention.MODEL)))
    yield town.stores
    town.stores.close()


def trained(model: bytes) -> ModelTrained:
    """The record of a training of the town's model."""
    return ModelTrained(
        region=TOWN.id,
        measure="pickups",
        model=model,
        algorithm="a test",
        features=(),
        first_slot=0,
        until_slot=1,
        rows=1,
        data_digest=bytes(32),
        parameters={},
        metrics={},
        trained_on=(),
    )


def story(stores: Stores) -> MeasureStory:
    """The town's models now."""
    return stories_of(stores.ledger)[PLACE]


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen once, after the next decision has read the log and before it appends."""

    def read(ledger: object, size: int | None = None) -> Stories:
        found = stories_of(ledger, size)  # type: ignore[arg-type]  # whatever it was called with
        monkeypatch.setattr(promoting, "stories_of", stories_of)
        act()
        return found

    monkeypatch.setattr(promoting, "stories_of", read)


def decisions(stores: Stores) -> list[object]:
    """Every promotion, rejection, hold and release, in order."""
    kinds = (ModelPromoted, ModelRejected, ModelHeld, ModelReleased)
    return [stored.record for stored in stores.ledger.read_kinds(CONTROL_LOG, 0, None, kinds)]


def test_two_rollbacks_at_once_are_one(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second finds that its champion no longer serves: it records nothing, and the rejected model does not come back."""
    now = story(stores)
    known = promoting.story_of(stores, *PLACE)
    monkeypatch.setattr(promoting, "story_of", lambda *_: known)
    between(monkeypatch, lambda: promoting.roll_back(stores, *PLACE, reason="first"))
    with pytest.raises(UsageError, match="found none to go back to"):
        promoting.roll_back(stores, *PLACE, reason="second")
    assert now.previous == story(stores).champion
    assert ["first", "rolled back: first"] == [record.reason for record in decisions(stores)[2:]]  # type: ignore[attr-defined]


def test_two_promotions_at_once_are_one(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second says that the model is the champion already."""
    digits = story(stores).challenger.hex()
    between(monkeypatch, lambda: promoting.promote_model(stores, digits, reason="first"))
    with pytest.raises(UsageError, match="already"):
        promoting.promote_model(stores, digits, reason="second")
    assert "first" == story(stores).promotions[-1][1].reason
    assert 3 == len(story(stores).promotions)


def test_two_holds_at_once_are_one(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is told of the first, and records nothing."""
    known = promoting.story_of(stores, *PLACE)
    monkeypatch.setattr(promoting, "story_of", lambda *_: known)
    between(monkeypatch, lambda: promoting.hold_models(stores, *PLACE, reason="first"))
    held = promoting.hold_models(stores, *PLACE, reason="second")
    assert held is not None
    assert "first" == held.reason
    assert 1 == sum(isinstance(record, ModelHeld) for record in decisions(stores))


def test_two_releases_at_once_are_one(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second finds nothing to release, and records nothing."""
    assert promoting.release_models(stores, *PLACE) is None
    promoting.hold_models(stores, *PLACE, reason="first")
    known = promoting.story_of(stores, *PLACE)
    monkeypatch.setattr(promoting, "story_of", lambda *_: known)
    between(monkeypatch, lambda: promoting.release_models(stores, *PLACE))
    assert promoting.release_models(stores, *PLACE, reason="second") is None
    assert ["by command"] == [record.reason for record in decisions(stores) if isinstance(record, ModelReleased)]


def test_a_hold_or_command_before_the_append_stops_the_gates(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator decides between a judgement and its record stands: the gates promote, reject and roll back nothing."""
    judged = story(stores)
    between(monkeypatch, lambda: promoting.hold_models(stores, *PLACE))
    assert not promoting.promote_by_gates(stores, judged, reason="better", evidence=())
    assert not promoting.reject_by_gates(stores, judged, reason="worse", evidence=())
    assert not promoting.roll_back_by_gates(stores, judged, judged.previous, reason="worse", evidence=())
    assert judged.champion == story(stores).champion
    promoting.release_models(stores, *PLACE)
    promoting.promote_model(stores, judged.challenger.hex())
    assert not promoting.roll_back_by_gates(stores, judged, judged.previous, reason="worse", evidence=())
    assert [Cause.COMMAND] * 3 == [record.cause for _, record in story(stores).promotions]


def test_a_rollback_is_appended_whole(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promotion and rejection are one append, so that a process that is killed leaves both or none."""
    appended: list[int] = []
    append = type(stores.ledger).append

    def count(ledger: object, log: str, expected: int, payloads: list[bytes]) -> object:
        appended.append(len(payloads))
        return append(ledger, log, expected, payloads)  # type: ignore[arg-type]  # whatever it was called with

    promoting.roll_back(stores, *PLACE)
    promoting.promote_model(stores, story(stores).challenger.hex())  # schemas of all kinds are recorded now
    monkeypatch.setattr(type(stores.ledger), "append", count)
    promoting.roll_back(stores, *PLACE)
    assert [2] == appended
