"""Which model is the champion when the control log had a size, and how often its artefact is read."""

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.store.blobs import Blobs, Retention, open_blobs
from ledger.views.champions import Artefacts, InForce, champion_at, champions_at
from ledger.views.control import Control, ControlView
from schemas.errors import NotFound
from schemas.records.record_codec import encode
from schemas.records.records import CONTROL_LOG, ModelPromoted
from schemas.regions import load_region
from tests.ledger.places import Place
from tests.ledger.trainings import trained

FIRST, SECOND = b"1" * 32, b"2" * 32


def promoted(model: bytes, measure: str = "pickups") -> ModelPromoted:
    """The record that puts a model in force."""
    return ModelPromoted(region="nyc", measure=measure, model=model, alias="champion", reason="a test")


def test_a_champion_is_the_last_promotion_below_a_size(tmp_path: Path) -> None:
    """Each size of the control log has its champion, with the training of that very model where one is on record below it."""
    place = Place(tmp_path)
    ledger = place.open()
    records = [trained(FIRST), promoted(FIRST), trained(SECOND), promoted(SECOND), promoted(FIRST, "requests")]
    ledger.append(CONTROL_LOG, 0, [*map(encode, records), b"from a newer version"])
    one = InForce("pickups", 1, promoted(FIRST), 0, trained(FIRST))
    two = InForce("pickups", 3, promoted(SECOND), 2, trained(SECOND))
    assert [None, None, one, one, two, two] == [champion_at(ledger, "nyc", "pickups", size) for size in range(6)]
    other = InForce("requests", 4, promoted(FIRST, "requests"))
    assert {("nyc", "pickups"): two, ("nyc", "requests"): other} == champions_at(ledger, 6)
    digests = {key: champion.promoted.model for key, champion in champions_at(ledger, 6).items()}
    assert digests == ControlView(ledger).latest().champions
    place.close()


class Counted:
    """Blobs that count how often they are read."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs, self.read = blobs, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._blobs, name)

    def get(self, digest: bytes) -> bytes:
        """Read one."""
        self.read += 1
        return self._blobs.get(digest)


def test_an_artefact_is_read_once_while_it_serves(tmp_path: Path) -> None:
    """A model in force is read when it comes into force, and again only when it comes back."""
    blobs = open_blobs(tmp_path, "")
    counted, region = Counted(blobs), replace(load_region("nyc"), measures=("pickups", "requests"))
    first, second = (blobs.put(data, Retention.MODEL) for data in (b"one", b"two"))
    artefacts = Artefacts(counted)  # type: ignore[arg-type]  # the other methods are the store's own
    for digest, data, read in ((first, b"one", 1), (first, b"one", 1), (second, b"two", 2), (first, b"one", 3)):
        control = Control(1, b"", {("nyc", "pickups"): digest, ("nyc", "requests"): b"", ("tehran", "pickups"): second})
        assert {"pickups": (digest, data)} == artefacts.in_force(control, region)
        assert read == counted.read
    with pytest.raises(NotFound, match=f"model {'ff' * 32}: its artefact is missing"):
        artefacts.get(b"\xff" * 32)
    blobs.close()
