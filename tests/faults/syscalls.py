"""Faults at system calls: a small program that appends one close, its calls, and the state after one bad call."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ledger.check.verify import verify_log
from ledger.store.blobs import Retention, open_blobs
from tests.ledger.places import LOG, Place, scored
from tests.tree import ROOT

CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename")
FAULTS = {"KILL": "signal=KILL", "EIO": "error=EIO", "ENOSPC": "error=ENOSPC"}
CLOSE_ENTRIES = 5
CHUNKS_BYTES = 100_000
BEFORE = 2  # existing closes with their checkpoint before the program starts

# Appends one close to an existing ledger: blob, entries, checkpoint, end. Its output uses another system call
# than those under test. Checkpoints are written by its main thread, so that the order of calls is fixed.
PROGRAM = """
import os, sys
from pathlib import Path
from ledger.store.blobs import Retention, open_blobs
from schemas.errors import RidecastError
from tests.faults.syscalls import BEFORE, chunks_of, close_of
from tests.ledger.places import LOG, Place

def say(text):
    os.writev(1, [text.encode() + b"\\n"])

place = Place(Path(sys.argv[1]))
ledger, blobs = place.open(), open_blobs(place.home, "")
size = ledger.head(LOG).size
os.getsid(0)  # from here on calls are counted
try:
    blobs.put(chunks_of(BEFORE), Retention.FORECAST)
    say("blob")
    with ledger.guard._writing:
        say(f"size {ledger.append(LOG, size, close_of(BEFORE)).size}")
        ledger.flush()
    say("checkpoint")
    ledger.close()
    say("end")
except RidecastError as refusal:
    say(f"{type(refusal).__name__} {refusal}")
os.getsid(0)  # up to here
os._exit(0)
"""


def close_of(number: int) -> list[bytes]:
    """Entries of a close."""
    return [scored(CLOSE_ENTRIES * number + at, size_bytes=900) for at in range(CLOSE_ENTRIES)]


def chunks_of(number: int) -> bytes:
    """Bytes of its blob."""
    return bytes([number]) * CHUNKS_BYTES


@dataclass(frozen=True, slots=True)
class Fault:
    """One bad call: its name, its number among calls of that name in the main thread, and its failure."""

    call: str
    number: int
    what: str

    def __str__(self) -> str:
        return f"{self.what} at {self.call} {self.number}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a fault.

    Attributes:
        fault: The injected fault.
        output: Lines that the program printed before its end, the last one perhaps the fault's name.
        silent: What was lost, stored twice or damaged without an error; empty if nothing was.
    """

    fault: Fault
    output: tuple[str, ...]
    silent: str

    @property
    def kind(self) -> str:
        """killed, refused (the program named the fault), or harmless (it finished)."""
        if self.output and self.output[-1] == "end":
            return "harmless"
        return "killed" if self.fault.what == "KILL" else "refused"


def prepare(home: Path) -> None:
    """A ledger with some closes, cleanly closed."""
    place = Place(home)
    ledger, blobs = place.open(), open_blobs(home, "")
    for number in range(BEFORE):
        blobs.put(chunks_of(number), Retention.FORECAST)
        ledger.append(LOG, CLOSE_ENTRIES * number, close_of(number))
    blobs.close()
    place.close()


def calls_of_a_close(folder: Path) -> list[tuple[str, int]]:
    """Every (call, number) of the program's main thread between its two marks, in order; numbers count from its start."""
    home, log = folder / "profile", folder / "calls.txt"
    prepare(home)
    done = _run(home, ["-o", str(log), "-e", f"trace={','.join(CALLS)},getsid"])
    assert done.stdout.splitlines()[-1:] == ["end"], done.stdout + done.stderr
    found: list[tuple[str, int]] = []
    main, marks, numbers = "", 0, Counter[str]()
    for line in log.read_text("utf-8", "replace").splitlines():
        thread, call = re.match(r"(\d+) +(?:(\w+)\()?", line).groups()  # type: ignore[union-attr]  # every line begins with an id
        main = main or thread
        if thread != main or call is None:
            continue
        marks += call == "getsid"
        if call in CALLS:
            numbers[call] += 1
            if marks == 1:
                found.append((call, numbers[call]))
    assert marks == 2, f"expected two marks in the trace, got {marks}"
    return found


def suffer(fault: Fault, folder: Path) -> Outcome:
    """Run the program with one bad call, restart it, and check the ledger."""
    home = folder / f"{fault.what}-{fault.call}-{fault.number}"
    prepare(home)
    done = _run(
        home, ["-o", "/dev/null", "-e", f"trace={fault.call}", "-e", f"inject={fault.call}:{FAULTS[fault.what]}:when={fault.number}"]
    )
    output = tuple(done.stdout.splitlines())
    silent = _judge(home, output)
    if not silent and done.returncode not in (0, -9, 137):
        silent = f"ended with status {done.returncode}: {done.stderr[-500:]}"
    if not silent and done.returncode == 0 and not output:
        silent = "ended without a word"
    shutil.rmtree(home)
    return Outcome(fault, output, silent)


def _judge(home: Path, output: tuple[str, ...]) -> str:
    """Problems after a restart: with acknowledged entries, with the others, and after appending the close again."""
    place = Place(home)
    ledger, blobs = place.open(), open_blobs(home, "")
    whole = [payload for number in range(BEFORE + 1) for payload in close_of(number)]
    before = CLOSE_ENTRIES * BEFORE
    try:
        found = [stored.payload for stored in ledger.read(LOG, 0)]
        if found not in (whole, whole[:before]):
            return f"{len(found)} entries, which are neither those before the close nor those after it"
        if f"size {len(whole)}" in output and found != whole:
            return "the acknowledged entries are gone"
        if "blob" in output and all(blobs.get(digest) != chunks_of(BEFORE) for digest in blobs.digests()):
            return "the acknowledged blob is gone"
        if problems := verify_log(ledger, LOG, blobs).problems:
            return f"verify after the restart: {problems[0]}"
        blobs.put(chunks_of(BEFORE), Retention.FORECAST)
        if (size := ledger.append(LOG, before, close_of(BEFORE)).size) != len(whole):
            return f"the close appended again: expected size {len(whole)}, got {size}"
        size = ledger.append(LOG, len(whole), close_of(BEFORE + 1)).size
        ledger.flush()
        report = verify_log(ledger, LOG, blobs)
        if report.problems or (report.entries, report.checkpoint_size) != (size, size):
            return f"verify after another close: {report}"
        return ""
    finally:
        blobs.close()
        place.abandon()


def _run(home: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    strace = shutil.which("strace")
    assert strace, "strace is missing: install the package strace"
    command = [strace, "-f", "-qq", *words, sys.executable, "-B", "-c", PROGRAM, str(home)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
