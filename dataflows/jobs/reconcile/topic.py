"""The published topic, compared with what the publisher has published of the ledger: the newest message of each key.

What is expected is decided by the cursor of each region, which moves in the transaction of the forecasts. A repair takes the turn of
the publisher, reads what came since, and writes only what still differs, under a transactional id of its own: the publisher waits for
it and is never fenced.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from dataflows.connectors.kafka.cluster import Brokers
from dataflows.connectors.kafka.newest_messages import NewestMessage, NewestMessages
from dataflows.connectors.kafka.published import Correction, PublishedCursors, correct
from dataflows.stream.publish import messages_of, published_place, publishing_turn
from ledger.formats.ranges import compared
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, Stored
from ledger.views.reconcile.differences import Compared, Difference, PlaceName, Reason
from ledger.views.reconcile.message_words import MessageWords, index_in, is_issue, words_of
from schemas.events.partitioner import partition_of
from schemas.records.records import ForecastIssued, region_log
from schemas.regions import Region

TRIES = 5  # reads that a publisher may overtake


class _Issued(NamedTuple):
    """What is expected of a region: value by key, as of a cursor."""

    cursor: int
    values: Mapping[bytes, bytes]


class TopicPlace:
    """The topic of forecasts, for some regions.

    Args:
        on_step: Called with how many of how many offsets are read.
    """

    name = PlaceName.TOPIC

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        brokers: Brokers,
        instance: str,
        regions: Sequence[Region],
        known: Sequence[str],
        on_step: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._ledger, self._blobs, self._brokers, self._instance = ledger, blobs, brokers, instance
        self._regions, self._known = regions, frozenset(known)
        self._cursors = PublishedCursors(brokers, instance)
        self._messages = NewestMessages(brokers, self._cursors.topic, on_step)
        self._issued: dict[str, _Issued] = {}
        self._homes: dict[bytes, int] = {}

    def close(self) -> None:
        """Close the connections."""
        self._messages.close()

    def compare(self) -> Compared:
        at = self._at()
        for _ in range(TRIES):
            self._messages.read()
            before, at = at, self._at()
            if before == at:
                break
        moving = sorted(region for region in at if before[region] != at[region])
        found = [self._compare(region, at[region.id]) for region in self._regions if region.id not in moving]
        notes = [f"{region}: published faster than it can be compared; compare again when it has caught up" for region in moving]
        foreign = sorted({key for (_, key) in self._messages.found if key.partition(b"/")[0].decode("utf-8", "replace") not in self._known})
        if foreign:
            notes.append(f"{len(foreign)} keys of no region of this ledger, {_shown(foreign[0])} first: left alone")
        differences = tuple(one for part in found for one in part.differences)
        sums = (sum(getattr(part, name) for part in found) for name in ("checked", "ranges", "listed"))
        checked, ranges, listed = sums
        return Compared(differences, checked, ranges, listed, tuple(notes))

    def repair(self, found: Sequence[Difference]) -> None:
        for region in self._regions:
            chosen = {(one.key, one.reason, one.got) for one in found if one.region == region.id}
            if chosen:
                with publishing_turn(self._ledger, region_log(region.id)):
                    self._repair(region, chosen)

    def _repair(self, region: Region, chosen: set[tuple[str, Reason, str]]) -> None:
        """Nothing else writes meanwhile: what is read now is what is corrected."""
        cursor = self._at()[region.id]
        self._messages.read()
        still = {one.key for one in self._compare(region, cursor).differences if (one.key, one.reason, one.got) in chosen}
        values = self._expected(region, cursor).values
        # In a partition that is not the key's the right value stays too: a tombstone there would hide it from whoever reads both.
        corrections = [
            Correction(partition, key, values.get(key)) for key, partition in self._keys(region) if self._name(key, partition) in still
        ]
        if corrections:
            correct(self._brokers, self._instance, region.id, corrections)

    def _at(self) -> dict[str, int]:
        """Up to which entry each region is published."""
        self._cursors.read()
        return {region.id: published_place(self._ledger, self._cursors, region_log(region.id)).index for region in self._regions}

    def _compare(self, region: Region, cursor: int) -> Compared:
        values = self._expected(region, cursor).values
        self._find_homes([*{*values, *(key for _, key in self._messages.found)}])
        digests = {key: sha256(value).digest() for key, value in values.items()}
        held = {key: self._held(key) for key, _ in self._keys(region)}
        # No message and a tombstone say the same of a key without a forecast.
        got = {key: message.digest for key, message in held.items() if message is not None and message.digest is not None}
        comparison = compared(digests, got)
        differences = []
        for key, _, _ in comparison.unequal:
            message = held.get(key)
            words = words_of(self._ledger, region.id, values.get(key), message.value if message is not None else None)
            if message is None:
                words = words._replace(got="nothing")
            differences.append(self._difference(region, self._name(key, self._home(key)), words, key))
        for (partition, key), message in sorted(self._messages.found.items()):
            if message.value is not None and self._is_of(region, key) and partition != self._home(key):
                index = index_in(message.value)
                if index is None or index >= cursor or not is_issue(self._ledger, region.id, index):
                    words = MessageWords(
                        Reason.ADDED, "nothing in this partition", f"entry {index}" if index is not None else "no forecast"
                    )
                    differences.append(self._difference(region, self._name(key, partition), words, key))
        return Compared(tuple(differences), len(values), comparison.ranges, comparison.listed)

    def _difference(self, region: Region, name: str, words: MessageWords, key: bytes) -> Difference:
        cells = tuple(_shown(part) for part in key.split(b"/")[1:2])
        return Difference(self.name, region.id, name, words.reason, words.expected, words.got, cells)

    def _name(self, key: bytes, partition: int) -> str:
        return _shown(key) if partition == self._home(key) else f"{_shown(key)} in partition {partition}"

    def _home(self, key: bytes) -> int:
        """The partition in which the publisher writes a key."""
        if key not in self._homes:
            self._homes[key] = int(partition_of([key], self._messages.partitions)[0])
        return self._homes[key]

    def _find_homes(self, keys: Sequence[bytes]) -> None:
        """The same for many keys at once, which is much faster."""
        self._homes = dict(zip(keys, partition_of(list(keys), self._messages.partitions).tolist(), strict=True)) if keys else {}

    def _held(self, key: bytes) -> NewestMessage | None:
        return self._messages.found.get((self._home(key), key))

    def _is_of(self, region: Region, key: bytes) -> bool:
        return key.startswith(f"{region.id}/".encode())

    def _keys(self, region: Region) -> list[tuple[bytes, int]]:
        """Every key of a region with its partition, whether it is expected or read, in order."""
        read = {(key, partition) for partition, key in self._messages.found if self._is_of(region, key)}
        issued = self._issued.get(region.id)
        wanted = {(key, self._home(key)) for key in (issued.values if issued is not None else ())}
        return sorted(read | wanted)

    def _expected(self, region: Region, cursor: int) -> _Issued:
        """The newest messages of each measure up to a cursor; those of one cursor at a time are kept."""
        known = self._issued.get(region.id)
        if known is None or known.cursor != cursor:
            values: dict[bytes, bytes] = {}
            for measure in region.measures:
                issue = self._newest_before(region, measure, cursor)
                if issue is not None:
                    values.update(messages_of(self._ledger, self._blobs, region, issue)[0])
            known = self._issued[region.id] = _Issued(cursor, values)
        return known

    def _newest_before(self, region: Region, measure: str, cursor: int) -> Stored[ForecastIssued] | None:
        """The last issue of a measure below an index."""
        log = region_log(region.id)
        found = self._ledger.entry(log, ForecastIssued, subject=measure)
        while found is not None and found.index >= cursor:
            slot = found.record.slot - 1
            first = self._ledger.entry(log, ForecastIssued, subject=measure, last=False)
            found = None
            while found is None and first is not None and slot >= first.record.slot:
                found = self._ledger.entry(log, ForecastIssued, slot=slot, subject=measure)
                slot -= 1
        return found


def _shown(key: bytes) -> str:
    """A key that others may have chosen, in one line."""
    return key.decode("utf-8", "surrogateescape").encode("unicode_escape").decode("ascii")
