"""Following a log: every entry once, in order, until told to stop."""

import threading
import time
from pathlib import Path

from ledger.store.log import open_embedded
from ledger.views import follow as following
from ledger.views.follow import follow
from schemas.records.record_codec import encode
from schemas.records.records import ModelPromoted
from tests.ledger.exports import SIGNER


def test_old_and_new_entries_are_seen_once(tmp_path: Path) -> None:
    """A follower that starts in the middle sees old and new entries in order, and stops when told to."""
    ledger = open_embedded(tmp_path, instance="test", clock=time.monotonic, signer=SIGNER)
    entries = [encode(ModelPromoted(region="nyc", measure="pickups", model=b"%d" % i, alias="champion", reason="")) for i in range(9)]
    ledger.append("control", 0, entries[:5])
    stop, seen = threading.Event(), list[int]()
    for batch in follow(ledger, "control", 2, stop, 0.01):
        assert batch
        seen += [stored.index for stored in batch]
        if seen[-1] == 4:
            ledger.append("control", 5, entries[5:])
        else:
            stop.set()
    assert seen == [2, 3, 4, 5, 6, 7, 8]
    ledger.close()


def test_a_log_that_does_not_exist_is_waited_for(tmp_path: Path) -> None:
    """Following a log before its first entry yields nothing, and still stops when told to."""
    ledger = open_embedded(tmp_path, instance="test", clock=time.monotonic, signer=SIGNER)
    stop = threading.Event()
    timer = threading.Timer(0.1, stop.set)
    timer.start()
    assert list(follow(ledger, "region/nyc", 0, stop, 0.01)) == []
    timer.join()
    ledger.close()


def test_a_long_log_is_read_in_batches(tmp_path: Path) -> None:
    """No batch is larger than its bound."""
    ledger = open_embedded(tmp_path, instance="test", clock=time.monotonic, signer=SIGNER)
    n = 2 * following.BATCH_ENTRIES + 1
    ledger.append(
        "control",
        0,
        [encode(ModelPromoted(region="nyc", measure="pickups", model=b"%d" % i, alias="champion", reason="")) for i in range(n)],
    )
    stop, sizes = threading.Event(), list[int]()
    for batch in follow(ledger, "control", 0, stop, 0.01):
        sizes.append(len(batch))
        if sum(sizes) == n:
            stop.set()
    assert sizes == [following.BATCH_ENTRIES, following.BATCH_ENTRIES, 1]
    ledger.close()
