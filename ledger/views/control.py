"""What is in force: the control log folded up to any size."""

from dataclasses import dataclass, field

from ledger.store.log import Ledger, holds
from schemas.records.records import CONTROL_LOG, FoldChanged, ModelPromoted, RegionBootstrapped


@dataclass(frozen=True, slots=True)
class Control:
    """The control log up to one size: its root, the champion's digest per (region, measure), and how regions are folded."""

    size: int
    root: bytes
    champions: dict[tuple[str, str], bytes] = field(default_factory=dict)
    folds: dict[str, tuple[FoldChanged, ...]] = field(default_factory=dict)

    def fold_version(self, boot: RegionBootstrapped, slot: int) -> int:
        """Which version of the fold closes a slot of a region: the last that was recorded for that slot or an earlier one."""
        versions = [changed.version for changed in self.folds.get(boot.region, ()) if changed.slot <= slot]
        return versions[-1] if versions else boot.fold_version


class ControlView:
    """Follows the control log; asks the ledger only for what it has not folded yet."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._now = Control(0, b"")

    def latest(self) -> Control:
        """The control log as it stands now."""
        head = self._ledger.head(CONTROL_LOG)
        if head.size != self._now.size or not self._now.root:
            self._now = self._fold(self._now, head.size, head.root)
        return self._now

    def at(self, size: int, root: bytes) -> Control:
        """The control log as a slot cited it."""
        if size == self._now.size and root == self._now.root:
            return self._now
        start = self._now if size >= self._now.size else Control(0, b"")
        self._now = self._fold(start, size, root)
        return self._now

    def _fold(self, start: Control, size: int, root: bytes) -> Control:
        champions, folds = dict(start.champions), dict(start.folds)
        if size > start.size:
            for stored in self._ledger.read(CONTROL_LOG, start.size, size):
                if holds(stored, ModelPromoted):
                    record = stored.record
                    champions[record.region, record.measure] = record.model
                elif holds(stored, FoldChanged):
                    changed = stored.record
                    folds[changed.region] = (*folds.get(changed.region, ()), changed)
        return Control(size, root, champions, folds)
