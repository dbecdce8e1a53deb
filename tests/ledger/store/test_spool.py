"""The spool: what is put there is durable and whole, and enters the ledger once, whoever is killed and whenever."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger.check.verify import verify_log
from ledger.store.log import Ledger
from ledger.store.spool import PLAN, Spool, SpoolFull, read_segment, segment_paths
from ledger.store.spool_append import SEGMENTS_PER_STEP, SpoolAppender, SpoolInUse
from schemas.errors import ContractError, DamagedError, StoreUnavailable
from schemas.records.record_codec import encode
from schemas.records.records import ACCESS_LOG, ALERTS_LOG, RUNS_LOG, AccessCount, AccessesCounted, Acknowledged, FoldChanged, RunStopped
from tests.ledger.places import Place
from tests.tree import ROOT

ME, OTHER = b"writer of a test", b"another a writer"


def counted(until_us: int) -> bytes:
    """A record of accesses that tells itself from others by its time."""
    count = AccessCount(subject="anonymous", operation="region", region="nyc", status=200, count=1)
    return encode(AccessesCounted(from_us=0, until_us=until_us, dropped=0, counts=(count,)))


def acknowledged(index: int) -> bytes:
    """A record that belongs to the other log."""
    return encode(Acknowledged(log="region/nyc", index=index, outcome="seen", subject="anonymous", acknowledged_at_us=7))


def times(ledger: Ledger) -> list[int]:
    """What the `access` log says, by `until_us`."""
    return [record.until_us for record in ledger.records(ACCESS_LOG, AccessesCounted)]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty spool."""
    return Spool(tmp_path / "spool", ME)


@pytest.fixture
def open_ledger(tmp_path: Path) -> Iterator[Callable[[str], Ledger]]:
    """Opens the ledger of a home of that name; closed with the test."""
    places: list[Place] = []

    def opened(name: str) -> Ledger:
        places.append(Place(tmp_path / name))
        return places[-1].open()

    yield opened
    for place in places:
        place.close()


@pytest.fixture
def ledger(open_ledger: Callable[[str], Ledger]) -> Ledger:
    """An empty ledger beside the spool."""
    return open_ledger("home")


def test_segments_are_numbered_and_whole(spool: Spool, tmp_path: Path) -> None:
    """What is put comes out in order, byte for byte, under ascending numbers."""
    assert [0, 1] == [spool.put([b"a", b""]), spool.put([b"x" * 70_000])]
    found = [read_segment(path) for path in segment_paths(tmp_path / "spool")]
    assert [(0, (b"a", b"")), (1, (b"x" * 70_000,))] == [(segment.number, segment.payloads) for segment in found]


def test_writers_share_a_spool(tmp_path: Path) -> None:
    """Two processes never write over each other, and the same words of two writers are two segments."""
    first, second = Spool(tmp_path, ME), Spool(tmp_path, OTHER)
    assert [0, 1, 2] == [first.put([b"a"]), second.put([b"a"]), first.put([b"a"])]
    assert 3 == len({read_segment(path).digest for path in segment_paths(tmp_path)})


def test_a_full_spool_takes_nothing_more(tmp_path: Path) -> None:
    """The bound holds, what was there stays, and room again is used again."""
    spool = Spool(tmp_path, ME, largest_bytes=1_000)
    spool.put([b"x" * 900])
    with pytest.raises(SpoolFull, match=r"it holds \d+ bytes of at most 1000; is `ridecast run` stopped"):
        spool.put([b"y" * 200])
    assert [(b"x" * 900,)] == [read_segment(path).payloads for path in segment_paths(tmp_path)]
    segment_paths(tmp_path)[0].unlink()
    spool.put([b"y" * 200])
    assert 1 == len(segment_paths(tmp_path))


@pytest.mark.parametrize("payloads", [[], [b"x" * (1 << 20)]], ids=["nothing", "too much"])
def test_a_segment_has_its_bounds(spool: Spool, payloads: list[bytes], tmp_path: Path) -> None:
    """Nothing to say and too much at once are errors of the writer."""
    with pytest.raises(ContractError, match="expected 1 to 1048576 bytes"):
        spool.put(payloads)
    assert [] == segment_paths(tmp_path / "spool")


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    """A spool that cannot be written is an error that names it."""
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match=r"spool .*/spool: "):
        Spool(tmp_path / "spool", ME).put([b"a"])


def test_a_changed_byte_is_found(spool: Spool, tmp_path: Path) -> None:
    """A segment whose bytes changed, or that was given another number, does not read."""
    spool.put([b"a record"])
    [path] = segment_paths(tmp_path / "spool")
    renamed = path.rename(path.with_name(path.name.replace("0.", "5.")))
    with pytest.raises(DamagedError, match="its header or digest does not match its content"):
        read_segment(renamed)
    path.write_bytes(renamed.read_bytes().replace(b"record", b"rec0rd"))
    with pytest.raises(DamagedError, match="its header or digest does not match its content"):
        read_segment(path)


def test_records_reach_the_logs_of_their_kinds(spool: Spool, ledger: Ledger, tmp_path: Path) -> None:
    """Each kind goes to its log, in order, and an appended segment is gone."""
    spool.put([counted(1), acknowledged(3), counted(2)])
    spool.put([counted(3)])
    appender = SpoolAppender(ledger, tmp_path / "spool")
    assert (2, 0) == (appender.step(), appender.step())
    assert [1, 2, 3] == times(ledger)
    assert [3] == [record.index for record in ledger.records(ALERTS_LOG, Acknowledged)]
    assert [] == segment_paths(tmp_path / "spool")
    assert [] == [problem for log in ledger.logs() for problem in verify_log(ledger, log).problems]


def test_without_a_spool_nothing_happens(ledger: Ledger, tmp_path: Path) -> None:
    """A home that has no spool gets none, and no log."""
    assert 0 == SpoolAppender(ledger, tmp_path / "spool").step()
    assert not (tmp_path / "spool").exists()
    assert () == ledger.logs()


def test_numbers_are_never_given_twice(spool: Spool, ledger: Ledger, tmp_path: Path) -> None:
    """After all segments are appended and removed a new writer goes on behind the last number."""
    assert 0 == spool.put([counted(1)])
    SpoolAppender(ledger, tmp_path / "spool").step()
    assert 1 == Spool(tmp_path / "spool", OTHER).put([counted(2)])


def test_the_same_segment_twice_is_one_append(spool: Spool, ledger: Ledger, tmp_path: Path) -> None:
    """A segment that was appended but not removed comes again and changes nothing; equal words of others are their own."""
    spool.put([counted(1), acknowledged(1)])
    [path] = segment_paths(tmp_path / "spool")
    data = path.read_bytes()
    appender = SpoolAppender(ledger, tmp_path / "spool")
    appender.step()
    path.write_bytes(data)
    size = ledger.head(ACCESS_LOG).size
    assert 1 == appender.step()
    assert (size, [1]) == (ledger.head(ACCESS_LOG).size, times(ledger))
    Spool(tmp_path / "spool", OTHER).put([counted(1)])
    appender.step()
    assert [1, 1] == times(ledger)


def test_another_writer_of_the_log_is_passed(spool: Spool, ledger: Ledger, open_ledger: Callable[[str], Ledger], tmp_path: Path) -> None:
    """When another appended at the planned place, the segment goes behind it: once, and the plan says where."""
    spool.put([counted(1)])
    [path] = segment_paths(tmp_path / "spool")
    data = path.read_bytes()
    SpoolAppender(ledger, tmp_path / "spool").step()
    plan = (tmp_path / "spool" / PLAN).read_text("utf-8")
    assert '"access": 0' in plan
    other = open_ledger("other")
    other.append(ACCESS_LOG, 0, [counted(9)])
    path.write_bytes(data)
    appender = SpoolAppender(other, tmp_path / "spool")
    appender.step()
    path.write_bytes(data)
    appender.step()
    assert [9, 1] == times(other)
    assert '"access": 1' in (tmp_path / "spool" / PLAN).read_text("utf-8")


def test_a_second_appender_is_refused(spool: Spool, ledger: Ledger, tmp_path: Path) -> None:
    """One process appends; another is told which, appends nothing, and may when the first one has left."""
    first, second = SpoolAppender(ledger, tmp_path / "spool"), SpoolAppender(ledger, tmp_path / "spool")
    spool.put([counted(1)])
    first.step()
    spool.put([counted(2)])
    with pytest.raises(SpoolInUse, match=r"process \d+ is already appending it"):
        second.step()
    assert [1] == times(ledger)
    first.close()
    assert 1 == second.step()
    assert [1, 2] == times(ledger)
    second.close()


def test_what_may_not_come_from_a_spool_is_set_aside(spool: Spool, ledger: Ledger, tmp_path: Path) -> None:
    """A record that forecasters obey, and bytes that are none, are not signed: the segment is kept aside, the others go on."""
    spool.put([counted(1), encode(FoldChanged(region="nyc", slot=1, version=9))])
    spool.put([b"no record"])
    spool.put([counted(2)])
    appender = SpoolAppender(ledger, tmp_path / "spool")
    appender.step()
    assert [2] == times(ledger)
    assert (ACCESS_LOG,) == ledger.logs()
    assert [f"{number:020d}.segment" for number in (0, 1)] == appender.set_aside
    assert 2 == len(list((tmp_path / "spool").glob("*.damaged")))


def test_what_was_spooled_for_another_ledger_is_set_aside(ledger: Ledger, open_ledger: Callable[[str], Ledger], tmp_path: Path) -> None:
    """A segment names the ledger that it is for: one whose log of runs has other entries, or fewer, does not append it."""
    other = open_ledger("other")
    for run, one in (("a", ledger), ("b", other)):
        one.append(RUNS_LOG, 0, [encode(RunStopped(run=run, stopped_at_us=1, sizes={}))])
    both = {name: Spool(tmp_path / "spool", ME, ledger=one.head(RUNS_LOG)) for name, one in (("ours", ledger), ("theirs", other))}
    both["theirs"].put([counted(1)])
    both["ours"].put([counted(2)])
    Spool(tmp_path / "spool", OTHER).put([counted(3)])  # of an earlier release
    ledger.append(RUNS_LOG, 1, [encode(RunStopped(run="c", stopped_at_us=2, sizes={}))])
    Spool(tmp_path / "spool", ME, ledger=ledger.head(RUNS_LOG)).put([counted(4)])
    appender = SpoolAppender(ledger, tmp_path / "spool")
    assert 4 == appender.step()
    appender.close()
    assert [2, 3, 4] == times(ledger)
    assert (["00000000000000000000.segment"], []) == (appender.foreign, appender.set_aside)
    [kept] = (tmp_path / "spool").glob("*.foreign")
    kept.rename(kept.with_suffix(".segment"))
    assert 1 == SpoolAppender(other, tmp_path / "spool").step()
    assert [1] == times(other)


def test_a_step_is_bounded(spool: Spool, ledger: Ledger, tmp_path: Path) -> None:
    """A long spool is appended over several steps, so that publishing goes on between them."""
    for until_us in range(SEGMENTS_PER_STEP + 1):
        spool.put([counted(until_us)])
    appender = SpoolAppender(ledger, tmp_path / "spool")
    assert (SEGMENTS_PER_STEP, 1) == (appender.step(), appender.step())
    assert list(range(SEGMENTS_PER_STEP + 1)) == times(ledger)


# Puts three segments or appends them, and kills itself at the given call of the named function, before or after it.
KILLED = """
import os, signal, sys
from pathlib import Path
import ledger.store.spool as spooling, ledger.store.spool_append as appending
from ledger.store.log import Ledger
from tests.ledger.places import Place
from tests.ledger.store.test_spool import OTHER, counted

folder, role, moment, turn = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
calls = 0

def dying(original, after):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == turn and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = original(*args, **kwargs)
        if calls == turn and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return call

name, when = moment.split()
owner = {"fsync": os, "link": os, "write_plan": appending, "append": Ledger, "unlink": Path}[name]
setattr(owner, name, dying(getattr(owner, name), when == "after"))
if role == "put":
    spool = spooling.Spool(folder / "spool", OTHER)
    for number in range(3):
        spool.put([counted(number)])
        print(number, flush=True)
else:
    appending.SpoolAppender(Place(folder / "home").open(), folder / "spool").step()
"""


def run_killed(folder: Path, role: str, moment: str, turn: int) -> list[int]:
    """Run until it kills itself; returns the segments that it was told are durable."""
    words = [sys.executable, "-c", KILLED, str(folder), role, moment, str(turn)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("moment", ["fsync before", "fsync after", "link before", "link after"])
def test_killed_while_spooling(tmp_path: Path, open_ledger: Callable[[str], Ledger], moment: str) -> None:
    """What was acknowledged is there and whole, nothing is there in part, and others write and append on."""
    told = run_killed(tmp_path, "put", moment, 3 if moment.startswith("link") else 6)
    ledger = open_ledger("home")
    appender = SpoolAppender(ledger, tmp_path / "spool")
    appender.step()
    found = times(ledger)
    assert told == found[: len(told)]
    assert found in ([0], [0, 1], [0, 1, 2])
    assert [] == appender.set_aside
    Spool(tmp_path / "spool", ME).put([counted(9)])
    appender.step()
    assert [*found, 9] == times(ledger)


@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize(
    "moment", ["write_plan before", "write_plan after", "append before", "append after", "unlink before", "unlink after"]
)
def test_killed_while_appending(tmp_path: Path, open_ledger: Callable[[str], Ledger], moment: str, turn: int) -> None:
    """Killed between any two steps, the next appender brings every segment into the log once, in order."""
    spool = Spool(tmp_path / "spool", ME)
    for number in range(3):
        spool.put([counted(number)])
    run_killed(tmp_path, "append", moment, turn)
    ledger = open_ledger("home")
    SpoolAppender(ledger, tmp_path / "spool").step()
    assert [0, 1, 2] == times(ledger)
    assert [] == segment_paths(tmp_path / "spool")
    assert () == verify_log(ledger, ACCESS_LOG).problems
