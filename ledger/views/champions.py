"""Which model is the champion of a region and measure, how it came to be, and the bytes that it serves from."""

from collections.abc import Set
from dataclasses import dataclass, replace

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger
from ledger.views.control import Control
from schemas.errors import NotFound
from schemas.records.records import CONTROL_LOG, ModelPromoted, ModelTrained, RegionHeld, RegionReleased
from schemas.regions import Region


@dataclass(frozen=True, slots=True)
class InForce:
    """A champion: who put it there, and how it was trained.

    Attributes:
        index: Of the promotion in the control log.
        trained_index: Of the training, -1 if none is on record.
    """

    measure: str
    index: int
    promoted: ModelPromoted
    trained_index: int = -1
    trained: ModelTrained | None = None


def champions_at(ledger: Ledger, control_size: int) -> dict[tuple[str, str], InForce]:
    """(region, measure) -> champion, when the control log had a size; what has none, or is held, is served by the baseline."""
    found: dict[tuple[str, str], InForce] = {}
    for promotion in ledger.scan(CONTROL_LOG, 0, control_size, ModelPromoted):
        promoted = promotion.record
        found[promoted.region, promoted.measure] = InForce(promoted.measure, promotion.index, promoted)
    for training in ledger.scan(CONTROL_LOG, 0, control_size, ModelTrained):
        trained = training.record
        champion = found.get((trained.region, trained.measure))
        if champion is not None and champion.promoted.model == trained.model:
            found[trained.region, trained.measure] = replace(champion, trained_index=training.index, trained=trained)
    held = {stored.record.region: stored.index for stored in ledger.scan(CONTROL_LOG, 0, control_size, RegionHeld)}
    for released in ledger.scan(CONTROL_LOG, 0, control_size, RegionReleased):
        if released.index > held.get(released.record.region, released.index):
            del held[released.record.region]
    return {place: champion for place, champion in found.items() if place[0] not in held}


def champion_at(ledger: Ledger, region: str, measure: str, control_size: int) -> InForce | None:
    """The champion of one region and measure; None for the baseline."""
    return champions_at(ledger, control_size).get((region, measure))


class Artefacts:
    """The bytes of the models in force, each read once while it serves."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._held: dict[bytes, bytes] = {}

    def in_force(self, control: Control, region: Region) -> dict[str, tuple[bytes, bytes]]:
        """Measure -> (digest, artefact) of its champion; a measure without one is left out.

        Raises:
            NotFound: an artefact is missing.
        """
        digests = {measure: control.champion(region.id, measure) for measure in region.measures}
        found = {measure: (digest, self.get(digest)) for measure, digest in digests.items() if digest}
        self.keep_only({digest for digest, _ in found.values()})
        return found

    def held(self) -> dict[bytes, bytes]:
        """Digest -> bytes of the models in use."""
        return dict(self._held)

    def keep_only(self, digests: Set[bytes]) -> None:
        """Forget the bytes of all other models."""
        self._held = {digest: data for digest, data in self._held.items() if digest in digests}

    def get(self, digest: bytes) -> bytes:
        """The artefact of one model; raises as `in_force` does."""
        if digest not in self._held:
            try:
                self._held[digest] = self._blobs.get(digest)
            except NotFound as cause:
                raise NotFound(f"model {digest.hex()}: its artefact is missing") from cause
        return self._held[digest]
