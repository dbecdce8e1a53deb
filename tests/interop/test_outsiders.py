"""People who have none of our code read what we export and serve: Tessera's fsck, and Go's sumdb libraries. `make interop`."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.keys import Signer
from ledger.formats.merkle import leaf_hash
from ledger.formats.note import parse_note, sign_note
from ledger.store.key_files import PUBLIC_KEY
from tests.ridecast.calls import environment, ridecast
from tests.ridecast.conftest import REGION, Small, copy, small
from tests.tree import ROOT

__all__ = ["copy", "small"]

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1_200)]

LOG = f"region/{REGION}"
LOGS = (LOG, "control", "runs")
FLIPS = int(os.environ.get("RIDECAST_FLIPS", "40"))
SEED = int(os.environ.get("RIDECAST_SEED", "2014"))
SERVER = f"""
import os
from api.serve import serve
from dataflows.stream.stopping import stop_on_signals
from schemas.configuration.settings import Settings
serve(Settings.from_env(os.environ), ["{REGION}"], stop_on_signals())
"""


@dataclass(frozen=True, slots=True)
class Outsiders:
    """Programs of others, built from the versions in go.mod and the digests in go.sum."""

    folder: Path

    def fsck(self, key: str, log: str, place: str) -> str:
        """What Tessera's fsck says of a log at file://DIR or http://..., nothing if it is content. It always ends with status 0."""
        key_file = self.folder / "key.pub"
        key_file.write_text(key, "utf-8")
        # With one worker fsck 1.0.4 waits for ever once that worker has found a bad tile.
        words = ["--ui=false", "-v=0", "-N=16", f"--storage_url={place}/", f"--public_key={key_file}", f"--origin={origin_of(log)}"]
        done = subprocess.run([str(self.folder / "fsck"), *words], capture_output=True, text=True, check=False, timeout=120)
        return "" if "Successfully fsck'd log" in done.stderr and "fsck failed" not in done.stderr else done.stderr or "nothing was said"

    def sumdb(self, what: str, key: str, log: str, place: object) -> str:
        """What the program over golang.org/x/mod/sumdb says of a log or a proof, nothing if it is content."""
        words = [str(self.folder / "interop"), what, key, origin_of(log), str(place)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        return "" if done.returncode == 0 and done.stdout.startswith("proved ") else done.stderr or "nothing was said"

    def refuse(self, key: str, log: str, folder: Path) -> list[str]:
        """Who refuses an exported log."""
        said = {"fsck": self.fsck(key, log, f"file://{folder / log}"), "sumdb": self.sumdb("log", key, log, folder / log)}
        return [name for name, words in said.items() if words]


def origin_of(log: str) -> str:
    """The origin of a log of the small home."""
    return f"ridecast/local/{log}"


@pytest.fixture(scope="session")
def outsiders(tmp_path_factory: pytest.TempPathFactory) -> Outsiders:
    """Both programs, built."""
    if shutil.which("go") is None:
        pytest.fail("make interop: go is missing: install Go 1.24 or newer (Debian: golang-go)", pytrace=False)
    folder = tmp_path_factory.mktemp("outsiders")
    words = ["go", "build", "-mod=readonly", "-buildvcs=false", "-o", f"{folder}/", ".", "github.com/transparency-dev/tessera/cmd/fsck"]
    done = subprocess.run(words, cwd=ROOT / "tests" / "interop", capture_output=True, text=True, check=False)
    assert 0 == done.returncode, f"go build: {done.stderr[-2000:]}"
    return Outsiders(folder)


@pytest.fixture(scope="session")
def key(small: Small) -> str:
    """The small home's public key."""
    return (small.home / PUBLIC_KEY).read_text("utf-8").strip()


@pytest.fixture(scope="session")
def exported(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small home's logs, exported by the command; nobody writes there."""
    folder = tmp_path_factory.mktemp("exported")
    done = ridecast("ledger", "export", "--home", small.home, "--tiles", folder, cwd=folder)
    assert 0 == done.status, done.err
    return folder


@pytest.fixture
def copy_of(exported: Path, tmp_path: Path) -> Callable[[], Path]:
    """`copy_of()`: a fresh copy of the export, to damage."""

    def make() -> Path:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        return shutil.copytree(exported, tmp_path / "copy")

    return make


# --- an export --------------------------------------------------------------------------------------------


def test_others_verify_every_log(outsiders: Outsiders, exported: Path, key: str) -> None:
    """Both programs verify each exported log; the region's has full and partial tiles on two levels."""
    assert {log: [] for log in LOGS} == {log: outsiders.refuse(key, log, exported) for log in LOGS}
    tiles = {str(path.relative_to(exported / LOG)).split(".p/")[0] for path in (exported / LOG / "tile").rglob("*") if path.is_file()}
    assert {"tile/0/000", "tile/0/001", "tile/1/000", "tile/entries/000", "tile/entries/001"} <= tiles


def test_others_verify_an_export_that_grew(outsiders: Outsiders, copy: Small, key: str, tmp_path: Path) -> None:
    """An export of an older checkpoint, brought up to the newest one, verifies at both sizes."""
    checkpoint = copy.home / "checkpoints" / f"region__{REGION}.txt"
    newest = checkpoint.read_text("utf-8")
    shutil.copy(copy.folder / "first_checkpoint.txt", checkpoint)
    sizes = []
    for note in (checkpoint.read_text("utf-8"), newest):
        checkpoint.write_text(note, "utf-8")
        done = ridecast("ledger", "export", "--home", copy.home, "--tiles", tmp_path / "out", "--log", LOG, cwd=tmp_path)
        assert (0, []) == (done.status, outsiders.refuse(key, LOG, tmp_path / "out")), done.err
        sizes.append(parse_checkpoint(parse_note((tmp_path / "out" / LOG / "checkpoint").read_text("utf-8"))[0]).size)
    assert sizes[0] < 256 < sizes[1]


def test_others_refuse_each_damaged_file(outsiders: Outsiders, copy_of: Callable[[], Path], key: str) -> None:
    """A flipped bit, a cut, a byte too many and an absence are found in each file of the region's log, of whatever kind."""
    names = sorted(str(path.relative_to(copy_of() / LOG)) for path in (copy_of() / LOG).rglob("*") if path.is_file())
    assert len(names) >= 6
    for name in names:
        for damage in (flip_middle, cut, lengthen, remove):
            folder = copy_of()
            damage(folder / LOG / name)
            refused = outsiders.refuse(key, LOG, folder)
            lenient = damage is lengthen and name.startswith("tile/") and "entries" not in name  # fsck 1.0.4 overlooks what is behind.
            assert "sumdb" in refused, f"{damage.__name__} {name}"
            assert lenient or "fsck" in refused, f"{damage.__name__} {name}"


def flip_middle(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    flip(path, path.stat().st_size // 2)


def flip(path: Path, at: int, mask: int = 1) -> None:
    """Flip bits of one byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= mask
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Cut the last byte off."""
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    """Put a byte behind the last."""
    path.write_bytes(path.read_bytes() + b"\x00")


def remove(path: Path) -> None:
    """Take a file away."""
    path.unlink()


def test_others_refuse_random_flips(outsiders: Outsiders, copy_of: Callable[[], Path], key: str) -> None:
    """Bits flipped anywhere in tiles and bundles, with a seed that is printed, are all found by fsck."""
    chance = random.Random(SEED)
    print(f"\nRIDECAST_SEED={SEED} RIDECAST_FLIPS={FLIPS}")
    folder = copy_of()
    paths = sorted(path for path in (folder / LOG / "tile").rglob("*") if path.is_file())
    for _ in range(FLIPS):
        path, mask = chance.choice(paths), 1 << chance.randrange(8)
        at = chance.randrange(path.stat().st_size)
        flip(path, at, mask)
        assert outsiders.fsck(key, LOG, f"file://{folder / LOG}"), f"bit {mask} of byte {at} of {path.relative_to(folder)}"
        flip(path, at, mask)
    assert [] == outsiders.refuse(key, LOG, folder)


def test_others_refuse_another_key_and_another_origin(outsiders: Outsiders, copy_of: Callable[[], Path], key: str) -> None:
    """A checkpoint signed with another key, or one of another log, is refused though the tiles are good."""
    folder = copy_of()
    text, _ = parse_note((folder / LOG / "checkpoint").read_text("utf-8"))
    thief = Signer("ridecast/local", bytes(32))
    (folder / LOG / "checkpoint").write_text(sign_note(text, thief), "utf-8")
    assert ["fsck", "sumdb"] == outsiders.refuse(key, LOG, folder)
    assert [] == outsiders.refuse(thief.verifier.text(), LOG, folder)  # Only the key was wrong.
    folder = copy_of()
    shutil.copy(folder / "control" / "checkpoint", folder / LOG / "checkpoint")
    assert ["fsck", "sumdb"] == outsiders.refuse(key, LOG, folder)


def test_others_refuse_a_changed_checkpoint(outsiders: Outsiders, copy_of: Callable[[], Path], key: str) -> None:
    """Each line of the checkpoint counts: origin, size, root and signature."""
    lines = (copy_of() / LOG / "checkpoint").read_text("utf-8").split("\n")
    size = int(lines[1])
    changes = {0: lines[0] + "x", 1: str(size - 1), 2: lines[2][:5] + ("A" if lines[2][5] != "A" else "B") + lines[2][6:], 4: lines[4][:-9]}
    for number, line in changes.items():
        folder = copy_of()
        (folder / LOG / "checkpoint").write_text("\n".join([*lines[:number], line, *lines[number + 1 :]]), "utf-8")
        assert ["fsck", "sumdb"] == outsiders.refuse(key, LOG, folder), lines[number]


# --- a proof ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def proof(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The proof of a number that the small home served, written by the command."""
    folder = tmp_path_factory.mktemp("proof")
    with serving(small.home) as url:
        forecast = httpx.get(f"{url}/v1/regions/{REGION}/forecasts?top=1").json()
        cell, horizon = forecast["forecasts"][0]["cell"], forecast["forecasts"][0]["horizons"][0]
        local = forecast["target_local"][:16]
        where = ["--region", REGION, "--cell", cell, "--target", local, "--horizon", horizon["horizon_min"]]
        done = ridecast("ledger", "prove", "--home", small.home, *where, "--out", "forecast.tlog-proof", cwd=folder)
        assert 0 == done.status, done.err
        served = httpx.get(f"{url}/v1/regions/{REGION}/forecasts/{cell}/{local}/{horizon['horizon_min']}/proof")
    assert (folder / "forecast.tlog-proof").read_text("utf-8") == served.text
    (folder / "mean.txt").write_text(str(round(horizon["mean"] * 1000)), "utf-8")
    return folder / "forecast.tlog-proof"


def test_others_verify_a_proof(outsiders: Outsiders, proof: Path, key: str, tmp_path: Path) -> None:
    """The entry of a proof file is in the log by sumdb's own check; with the index or a hash changed it is not."""
    assert "" == outsiders.sumdb("proof", key, LOG, proof)
    lines = proof.read_text("utf-8").split("\n")
    index = int(lines[2].removeprefix("index "))
    hashes = lines[3]
    for number, line in (
        (2, f"index {index - 1}"),
        (3, ("A" if hashes[0] != "A" else "B") + hashes[1:]),
        (1, lines[1][:-12] + "AAAAAAAAAAAA"),
    ):
        (tmp_path / "changed").write_text("\n".join([*lines[:number], line, *lines[number + 1 :]]), "utf-8")
        assert outsiders.sumdb("proof", key, LOG, tmp_path / "changed"), lines[number][:40]


def test_the_proof_of_a_real_home_is_checked_without_us(proof: Path, key: str) -> None:
    """The page of plain Python, run as a program, and the command both read the number that was served."""
    mean = (proof.parent / "mean.txt").read_text("utf-8")
    page = [sys.executable, "-I", str(ROOT / "docs" / "check_proof.py"), str(proof), key]
    done = subprocess.run(page, capture_output=True, text=True, check=False, timeout=60)
    assert (0, [f"mean_milli       {mean}"]) == (done.returncode, [line for line in done.stdout.splitlines() if line.startswith("mean")])
    said = ridecast("ledger", "check-proof", proof, "--key", key, cwd=proof.parent)
    assert (0, True) == (said.status, f"{int(mean) / 1000:.3f} " in said.out), said.err


# --- the API ----------------------------------------------------------------------------------------------


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """The address of an API over a home, in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    more = {"RIDECAST_HOME": str(home), "RIDECAST_API_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-c", SERVER], env=environment(**more), stderr=subprocess.PIPE, text=True)
    url, deadline_s = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while True:
            try:
                if httpx.get(f"{url}/v1/live").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline_s, f"{url} does not answer"
            time.sleep(0.1)
        yield url
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(30)
    finally:
        process.kill()
        process.communicate()


def test_others_verify_the_running_api(outsiders: Outsiders, small: Small, exported: Path, key: str) -> None:
    """The API is a tile server: both programs verify each log over HTTP, and every file of the export is served alike."""
    with serving(small.home) as url:
        for log in (LOG, "control"):  # Bundles of `runs` are for its operators.
            assert "" == outsiders.fsck(key, log, f"{url}/v1/ledger/{log}")
            assert "" == outsiders.sumdb("log", key, log, f"{url}/v1/ledger/{log}")
        for path in (exported / LOG).rglob("*"):
            if path.is_file():
                assert path.read_bytes() == httpx.get(f"{url}/v1/ledger/{LOG}/{path.relative_to(exported / LOG)}").content


def test_others_refuse_an_api_over_an_edited_database(outsiders: Outsiders, small: Small, key: str, tmp_path: Path) -> None:
    """An entry that was edited together with its stored hash, so that the database agrees with itself, is found from outside."""
    home = shutil.copytree(small.home, tmp_path / "home")
    engine = sa.create_engine(f"sqlite:///{home / 'ledger' / f'region__{REGION}.sqlite'}")
    with engine.begin() as connection:
        payload = connection.execute(sa.text('SELECT payload FROM entries WHERE "index" = 9')).scalar_one()
        edited = payload[:-1] + bytes([payload[-1] ^ 1])
        changed = {"payload": edited, "leaf": leaf_hash(edited)}
        connection.execute(sa.text('UPDATE entries SET payload = :payload, leaf = :leaf WHERE "index" = 9'), changed)
    engine.dispose()
    with serving(home) as url:
        assert 200 == httpx.get(f"{url}/v1/ledger/{LOG}/tile/entries/000").status_code
        size = parse_checkpoint(parse_note(httpx.get(f"{url}/v1/ledger/{LOG}/checkpoint").text)[0]).size
        assert 256 < size
        assert outsiders.fsck(key, LOG, f"{url}/v1/ledger/{LOG}")
        assert outsiders.sumdb("log", key, LOG, f"{url}/v1/ledger/{LOG}")
        assert "" == outsiders.fsck(key, "control", f"{url}/v1/ledger/control")
