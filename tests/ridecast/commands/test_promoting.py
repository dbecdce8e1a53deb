"""`ridecast models`, `promote`, `rollback` and `hold`: what they show, record and refuse."""

import dataclasses
import json
import re

import pytest

from dataflows.stream.stores import Stores, open_stores
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from ledger.views.control import ControlView
from ledger.views.model_story import Standing, stories_of
from schemas.configuration.settings import Settings
from schemas.records.records import (
    CONTROL_LOG,
    ModelHeld,
    ModelPromoted,
    ModelRejected,
    ModelReleased,
    ModelTrained,
    RegionHeld,
    RegionReleased,
)
from tests.ridecast.conftest import REGION, Call, Small

PLACE = (REGION, "requests")


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, bytes]]:
    """The aliases that MLflow would be given; MLflow itself has tests of its own."""
    given: list[dict[str, bytes]] = []
    monkeypatch.setattr("dataflows.jobs.promoting.track_aliases", lambda _, __, ___, aliases, **____: given.append(aliases))
    return given


@pytest.fixture
def two(copy: Small) -> tuple[Small, bytes, bytes]:
    """A home whose champion has a challenger: (home, champion, challenger)."""
    stores = opened(copy)
    [trained] = stores.ledger.records(CONTROL_LOG, ModelTrained)
    challenger = stores.blobs.put(b"another model", Retention.MODEL)
    append_shared(stores.ledger, CONTROL_LOG, dataclasses.replace(trained, model=challenger))
    stores.close()
    return copy, trained.model, challenger


def opened(small: Small) -> Stores:
    """The stores of a home."""
    return open_stores(Settings.from_env({}, {"home": small.home}))


def last(small: Small, count: int) -> list[object]:
    """The newest records of the control log, without schemas."""
    stores = opened(small)
    kinds = (ModelPromoted, ModelRejected, ModelHeld, ModelReleased)
    found = [stored.record for stored in stores.ledger.read_kinds(CONTROL_LOG, 0, None, kinds)][-count:]
    stores.close()
    return found


def test_models_are_shown_with_what_they_are(two: tuple[Small, bytes, bytes], call: Call) -> None:
    """Newest first: digest, what it is, what it was trained on, errors against the baseline, and why."""
    small, champion, challenger = two
    done = call("models", "--home", small.home)
    assert 0 == done.status
    assert f"{REGION} requests: champion {champion.hex()[:12]}" in done.out
    rows = [line for line in done.out.splitlines() if champion.hex()[:12] in line or challenger.hex()[:12] in line][1:]
    assert [True, True] == [name in row for name, row in zip(("challenger", "champion"), rows, strict=True)]
    assert "by command" in rows[1]
    assert re.search(r"15 min \d\.\d{3} \(\d\.\d{3}\)", done.out)


def test_models_as_json_have_every_decision(two: tuple[Small, bytes, bytes], call: Call) -> None:
    """The file holds models with metrics as numbers, and the promotions as recorded."""
    small, champion, challenger = two
    path = small.folder / "deep" / "models.json"
    assert 0 == call("models", "--home", small.home, "--region", REGION, "--json", path).status
    [story] = json.loads(path.read_text("utf-8"))
    assert (champion.hex(), challenger.hex(), None, None) == tuple(story[name] for name in ("champion", "challenger", "previous", "held"))
    assert ["champion", "challenger"] == [model["standing"] for model in story["models"]]
    assert all(isinstance(value, float) for model in story["models"] for value in model["metrics"].values())
    [promotion] = story["promotions"]
    assert (champion.hex(), "operator", "command", []) == tuple(promotion[name] for name in ("model", "author", "cause", "evidence"))


def test_a_region_without_models_is_shown_too(copy: Small, call: Call) -> None:
    """A region that was only bootstrapped has a table that says what serves it; an unknown one is refused."""
    call("bootstrap", "--region", "nyc", "--until", "2014-05-01", "--home", copy.home, "--no-history")
    done = call("models", "--home", copy.home)
    assert "nyc pickups: no champion, served by the baseline" in done.out
    assert (1, True) == ((done := call("models", "--home", copy.home, "--region", "paris")).status, "paris: not bootstrapped" in done.err)


def test_a_promotion_is_recorded_and_obeyed(two: tuple[Small, bytes, bytes], call: Call, no_tracking: list[dict[str, bytes]]) -> None:
    """Named by its first digits, the challenger is champion at once; model, author, reason and the one before are on record."""
    small, champion, challenger = two
    done = call("promote", challenger.hex()[:8].upper(), "--home", small.home, "--author", "shift lead", "--reason", "looks better")
    said = f"{REGION} requests: model {challenger.hex()[:12]} serves from the next close on, instead of {champion.hex()[:12]}\n"
    assert (0, said) == (done.status, done.out)
    [promotion] = last(small, 1)
    assert promotion == ModelPromoted(
        region=REGION,
        measure="requests",
        model=challenger,
        alias="champion",
        reason="looks better",
        author="shift lead",
        cause="command",
        replaced=champion,
    )
    stores = opened(small)
    assert challenger == ControlView(stores.ledger).latest().champion(*PLACE)
    story = stories_of(stores.ledger)[PLACE]
    stores.close()
    assert (challenger, champion, b"") == (story.champion, story.previous, story.challenger)
    assert {"champion": challenger, "challenger": b""} == no_tracking[-1]


def test_what_cannot_be_promoted(two: tuple[Small, bytes, bytes], call: Call) -> None:
    """Too few digits, none of any model, the champion itself, and a model whose artefact is gone are refused, and nothing is recorded."""
    small, champion, challenger = two
    stores = opened(small)
    stores.blobs.remove(challenger)
    size = stores.ledger.head(CONTROL_LOG).size
    stores.close()
    for digits, status, said in (
        ("3f2", 2, "expected at least 4 hexadecimal digits"),
        ("nothex", 2, "expected at least 4 hexadecimal digits"),
        ("00000000", 1, "no model of this home has a digest that begins so; `ridecast models` lists them"),
        (champion.hex(), 2, f"is the champion of {REGION} requests already"),
        (challenger.hex(), 1, "its artefact is missing; train it again with `ridecast train`"),
    ):
        done = call("promote", digits, "--home", small.home)
        assert (digits, status, True) == (digits, done.status, said in done.err), done.err
    stores = opened(small)
    assert size == stores.ledger.head(CONTROL_LOG).size
    stores.close()


def test_a_damaged_artefact_is_not_promoted(two: tuple[Small, bytes, bytes], call: Call) -> None:
    """A truncated artefact, or one whose bytes are others, would hold the region at its next close: the command refuses it."""
    small, _, challenger = two
    [path] = small.home.rglob(challenger.hex())
    for data in (b"", b"another mod", b"another m0del"):
        path.write_bytes(data)
        done = call("promote", challenger.hex(), "--home", small.home)
        assert (1, True) == (done.status, f"model {challenger.hex()}: its artefact is damaged" in done.err), done.err
        assert "train it again with `ridecast train`" in done.err
    [first] = last(small, 1)
    assert isinstance(first, ModelPromoted)
    assert challenger != first.model


def test_a_rollback_brings_back_the_champion_before(two: tuple[Small, bytes, bytes], call: Call) -> None:
    """The earlier champion is promoted with the cause, the later is rejected; a second rollback has nothing to go back to."""
    small, champion, challenger = two
    none = call("rollback", "--home", small.home)
    assert (2, True) == (none.status, "expected a champion before the present one, found none to go back to" in none.err)
    call("promote", challenger.hex(), "--home", small.home)
    done = call("rollback", "--home", small.home, "--region", REGION, "--measure", "requests", "--reason", "too low")
    said = f"{REGION} requests: model {champion.hex()[:12]} serves again from the next close on, instead of {challenger.hex()[:12]}\n"
    assert (0, said) == (done.status, done.out)
    promoted, rejected = last(small, 2)
    assert isinstance(promoted, ModelPromoted)
    assert (champion, challenger, "rollback", "too low") == (promoted.model, promoted.replaced, promoted.cause, promoted.reason)
    assert rejected == ModelRejected(region=REGION, measure="requests", model=challenger, author="operator", reason="rolled back: too low")
    stores = opened(small)
    story = stories_of(stores.ledger)[PLACE]
    stores.close()
    assert (Standing.CHAMPION, Standing.REJECTED) == (story.models[champion].standing, story.models[challenger].standing)
    assert 2 == call("rollback", "--home", small.home).status


def test_a_hold_is_recorded_once_and_shown(copy: Small, call: Call) -> None:
    """A hold is said and shown with its reason; holding twice records it once; a release ends it."""
    first = call("hold", "--home", copy.home, "--reason", "marathon")
    assert (0, f"{REGION} requests: held: nothing is promoted or rolled back but by command\n") == (first.status, first.out)
    assert f"{REGION} requests: held already: marathon\n" == call("hold", "--home", copy.home).out
    assert "held by operator: marathon" in call("models", "--home", copy.home).out
    assert [ModelHeld(region=REGION, measure="requests", author="operator", reason="marathon")] == last(copy, 1)
    assert f"{REGION} requests: released; it was held: marathon\n" == call("hold", "--home", copy.home, "--release").out
    assert f"{REGION} requests: not held; nothing to do\n" == call("hold", "--home", copy.home, "--release").out
    assert [ModelReleased(region=REGION, measure="requests", author="operator", reason="by command")] == last(copy, 1)


def test_a_region_that_does_not_serve_its_champion_is_named(two: tuple[Small, bytes, bytes], call: Call) -> None:
    """In a held region a promotion and a rollback are recorded, and a warning says what serves until the release."""
    small, _, challenger = two
    stores = opened(small)
    append_shared(stores.ledger, CONTROL_LOG, RegionHeld(region=REGION, slot=7, reason="[odd] fold"))
    stores.close()
    said = f"warning: region {REGION} is held since slot 7, and served by the baseline until `ridecast ledger release`: [odd] fold"
    for done in (call("promote", challenger.hex(), "--home", small.home), call("rollback", "--home", small.home)):
        assert (0, True) == (done.status, said in done.err), done.err
    stores = opened(small)
    append_shared(stores.ledger, CONTROL_LOG, RegionReleased(region=REGION, reason="mended"))
    stores.close()
    assert "" == call("promote", challenger.hex(), "--home", small.home).err


def test_a_reason_is_shown_as_it_was_written(two: tuple[Small, bytes, bytes], call: Call) -> None:
    """Brackets and colons, which the table might take for markup or emoji, are text; so is HTML."""
    small, _, challenger = two
    assert 0 == call("promote", challenger.hex(), "--home", small.home, "--reason", "[/b] :car: <i>").status
    assert "[/b] :car: <i>" in call("models", "--home", small.home).out


def test_an_unknown_measure_is_refused(copy: Small, call: Call) -> None:
    """A measure that the region does not have is named with those that it has."""
    done = call("hold", "--home", copy.home, "--measure", "pickups")
    assert (2, "ridecast: --measure: expected one of requests of region tehran, got 'pickups'\n") == (done.status, done.err)


def test_a_decision_stands_when_mlflow_is_away(
    two: tuple[Small, bytes, bytes], call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A tracking server that does not answer is reported, and the promotion is recorded and exits with 0."""
    from dataflows.connectors.tracking import track_aliases

    small, _, challenger = two
    monkeypatch.setattr("dataflows.jobs.promoting.track_aliases", track_aliases)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = call("promote", challenger.hex(), "--home", small.home, RIDECAST_MLFLOW="http://127.0.0.1:9")
    assert 0 == done.status
    assert "recorded in the ledger, but its aliases in MLflow are not set: mlflow http://127.0.0.1:9: " in caplog.text
    [promotion] = last(small, 1)
    assert isinstance(promotion, ModelPromoted)
    assert challenger == promotion.model
