"""A running witness: what it remembers outlives it, and a ledger that went back gets no cosignature."""

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.witness import Witness, create_witness
from dataflows.audit.cosign import WitnessPlace, cosign
from ledger.formats.keys import Signer, parse_verifier
from ledger.formats.note import open_note
from ledger.formats.witness import Cosigned, Refusal
from ledger.store.log import Ledger, open_embedded
from schemas.errors import DamagedError, StoreUnavailable
from schemas.records.record_codec import encode
from schemas.records.records import RunStopped
from tests.ledger.formats.test_witness import FORK, LEAVES, LOG, WITNESS, signed, submission

NAME = "ridecast/local"
OPERATOR = Signer(NAME, bytes(32))


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    """A witness that knows one log's key."""
    return Witness(tmp_path / "witness", WITNESS, [LOG.verifier], lambda: 1_400_000_000.0)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[WitnessPlace]:
    """`ridecast ledger witness` in a process of its own."""
    words = ["ledger", "witness", "--name", "w.example/one", "--log-key", OPERATOR.verifier.text()]
    words += ["--state", str(tmp_path / "w"), "--port", "0"]
    with subprocess.Popen([sys.executable, "-m", "ridecast", *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = re.fullmatch(r"witness w.example/one at (http://127\.0\.0\.1:\d+); its key: (\S+)\n", process.stdout.readline())
            assert said is not None
            yield WitnessPlace(said[1], parse_verifier(said[2]))
        finally:
            process.terminate()
            assert process.wait(20) == 0


def grown(home: Path, entries: range) -> Ledger:
    """A ledger whose runs log holds these entries and no more."""
    ledger = open_embedded(home, instance="local", clock=time.monotonic, signer=OPERATOR)
    for i in entries:
        ledger.append("runs", ledger.head("runs").size, [encode(RunStopped(run=f"run {i}", stopped_at_us=i, sizes={}))])
    ledger.flush()
    return ledger


def test_statuses_and_media_types(witness: Witness) -> None:
    """A cosignature is a line; a conflict is a size with the type of its own; anything else is refused in a sentence."""
    client = TestClient(create_witness(witness))
    cosigned = client.post("/add-checkpoint", content=submission(0, 9).text())
    assert (200, True) == (cosigned.status_code, cosigned.text.startswith("— witness.example/one ") and cosigned.text.endswith("\n"))
    conflict = client.post("/add-checkpoint", content=submission(0, 12).text())
    assert (409, "9\n", "text/x.tlog.size") == (conflict.status_code, conflict.text, conflict.headers["content-type"])
    assert 422 == client.post("/add-checkpoint", content=submission(9, 12, FORK).text()).status_code
    assert 400 == client.post("/add-checkpoint", content=b"\xff").status_code
    assert 413 == client.post("/add-checkpoint", content=b"x" * 70_000).status_code
    assert 405 == client.get("/add-checkpoint").status_code
    assert 404 == client.post("/", content=b"").status_code


def test_memory_outlives_the_process(tmp_path: Path, witness: Witness) -> None:
    """Another witness process on the same folder goes on from what was cosigned, and refuses the fork."""
    assert isinstance(witness.submit(submission(0, 9).text().encode()), Cosigned)
    later = Witness(tmp_path / "witness", WITNESS, [LOG.verifier], lambda: 1_400_000_001.0)
    refused = later.submit(submission(9, 20, FORK).text().encode())
    assert isinstance(refused, Refusal)
    assert refused.suspicious
    assert isinstance(later.submit(submission(9, 20).text().encode()), Cosigned)
    [evidence] = (tmp_path / "witness" / "evidence").iterdir()
    assert submission(9, 20, FORK).text() == evidence.read_text("utf-8")


def test_an_edited_memory_is_not_believed(tmp_path: Path, witness: Witness) -> None:
    """Who writes another checkpoint into the folder of a witness does not make it sign a fork."""
    witness.submit(submission(0, 9).text().encode())
    [path] = (tmp_path / "witness").glob("*.txt")
    path.write_text(signed(9, FORK), "utf-8")
    with pytest.raises(DamagedError, match="expected a signature of a known key"):
        witness.submit(submission(9, 12, FORK).text().encode())


def test_strangers_leave_nothing_behind(tmp_path: Path, witness: Witness) -> None:
    """Submissions of logs that are not watched create no files."""
    stranger = Signer("stranger", bytes(32))
    witness.submit(submission(0, 3).text().replace("ridecast/test", "stranger").encode())
    witness.submit(f"old 0\n\n{signed(3, signer=stranger)}".encode())
    assert ["evidence"] == [path.name for path in (tmp_path / "witness").iterdir()]


def test_of_many_at_once_one_history_is_cosigned(witness: Witness) -> None:
    """Submissions that race are cosigned one after the other: never two roots for one size."""
    said: list[Cosigned | Refusal] = []
    tries = [submission(0, size, leaves) for size in (6, 9, 12) for leaves in (LEAVES, FORK)]
    threads = [threading.Thread(target=lambda one=one: said.append(witness.submit(one.text().encode()))) for one in tries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 == sum(isinstance(one, Cosigned) for one in said)
    assert len(tries) == len(said)


def test_a_ledger_is_cosigned_as_it_grows_and_refused_when_it_went_back(tmp_path: Path, running: WitnessPlace) -> None:
    """The whole way, over HTTP: cosigned twice, then an older copy of the ledger grows another way and is refused."""
    home = tmp_path / "home"
    with_close(grown(home, range(5)), running)
    shutil.copytree(home, tmp_path / "older")
    note = with_close(grown(home, range(5, 12)), running)
    opened = open_note(note, [OPERATOR.verifier, running.verifier])
    assert [NAME, "w.example/one"] == [made.name for made in opened.signatures]
    assert "ridecast/local/runs\n12\n" == opened.text[: len("ridecast/local/runs\n12\n")]
    with pytest.raises(DamagedError, match=r"has cosigned size 12, the checkpoint here has size 8: this log was rolled back"):
        with_close(grown(tmp_path / "older", range(5, 8)), running)
    with pytest.raises(DamagedError, match=r"w\.example/one refuses with status 422"):
        with_close(grown(tmp_path / "older", range(108, 117)), running)


def with_close(ledger: Ledger, place: WitnessPlace) -> str:
    """The cosigned checkpoint of the runs log; the ledger is closed."""
    try:
        return cosign(ledger, "runs", [place])
    finally:
        ledger.close()


def test_a_witness_that_is_away_is_named(tmp_path: Path) -> None:
    """An unreachable witness is said with its address."""
    with pytest.raises(StoreUnavailable, match=r"witness http://127\.0\.0\.1:1: expected an answer within 10 s, got .*refused"):
        with_close(grown(tmp_path, range(1)), WitnessPlace("http://127.0.0.1:1", WITNESS.verifier))


def test_a_key_that_is_given_twice_is_one_key(tmp_path: Path) -> None:
    """Whoever names a log's key twice has a witness that cosigns all the same."""
    witness = Witness(tmp_path / "witness", WITNESS, [LOG.verifier, LOG.verifier], lambda: 1_400_000_000.0)
    assert isinstance(witness.submit(submission(0, 3).text().encode()), Cosigned)


def test_a_log_that_grows_while_witnesses_are_asked(tmp_path: Path, running: WitnessPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is proved is the checkpoint that is submitted, not one that came after it."""
    ledger = grown(tmp_path / "home", range(3))
    cosign(ledger, "runs", [running])
    ledger.append("runs", 3, [encode(RunStopped(run="run 3", stopped_at_us=3, sizes={}))])
    ledger.flush()
    submitted = ledger.guard.note("runs")
    ledger.append("runs", 4, [encode(RunStopped(run="run 4", stopped_at_us=4, sizes={}))])
    ledger.flush()
    monkeypatch.setattr(ledger.guard, "note", lambda log: submitted)
    assert len(open_note(cosign(ledger, "runs", [running]), [running.verifier]).signatures) == 1
    ledger.close()
