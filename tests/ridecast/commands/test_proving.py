"""A number leaves as one file, and is checked with a key alone; logs and tables leave for other people's tools."""

import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result

from ledger.check.tile_check import check_export
from ledger.formats.keys import Signer
from ledger.formats.note import cosign_note
from ledger.formats.proof import check_proof
from ledger.store.key_files import PUBLIC_KEY, write_verifier
from ridecast.commands.ledger import command
from schemas.errors import RidecastError
from schemas.events.cells import cell_text
from schemas.times import local_iso
from tests.api.town import SLOT_S, START_SLOT, Town, build_town
from tests.ledger.exports import SIGNER
from tests.ledger.issues import WITNESSES
from tests.tree import ROOT

KEY = SIGNER.verifier.text()
SLOT = START_SLOT + 5
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A home with a signed log; nobody writes to it."""
    built = build_town(tmp_path_factory.mktemp("town") / "home", slots=8)
    write_verifier(home_of(built) / PUBLIC_KEY, SIGNER.verifier)
    yield built
    built.blobs.close()
    built.ledger.close()


def home_of(town: Town) -> Path:
    """Where a town's stores lie."""
    return town.ledger.guard.path("control").parents[1]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(*words)`: a `ridecast ledger` command in an empty folder; its errors have the exit code that the program gives them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(command, [str(word) for word in words], input=stdin)

    return call


def status_of(result: Result) -> int:
    """The exit code of the program."""
    return result.exception.exit_code if isinstance(result.exception, RidecastError) else result.exit_code


def said_of(result: Result) -> str:
    """What a person is told."""
    return f"{result.output}{result.exception or ''}"


def prove_words(town: Town, cell: int = 3, horizon_min: int = 30) -> list[object]:
    """The words that ask for the proof of a number."""
    local = local_iso((SLOT + 1) * SLOT_S * 1_000_000, town.region)[:16]
    where = ["--cell", cell_text(int(town.cells[cell]), 6), "--target", local, "--horizon", horizon_min]
    return ["prove", "--home", home_of(town), "--region", "nyc", *where]


def proof_of(town: Town, run: Run) -> str:
    """A proof's text."""
    return run(*prove_words(town), "--out", "-").stdout


# --- prove ------------------------------------------------------------------------------------------------


def test_the_file_proves_what_was_served(town: Town, run: Run, tmp_path: Path) -> None:
    """One file named for what it proves, which says the number that was issued; the command names the check to run next."""
    result = run(*prove_words(town))
    assert 0 == result.exit_code, said_of(result)
    (path,) = tmp_path.glob("*.tlog-proof")
    assert re.fullmatch(r"nyc-pickups-dr\w{4}-20140506T\d{6}Z-30\.tlog-proof", path.name)
    proved = check_proof(path.read_text("utf-8"), SIGNER.verifier)
    assert (int(town.cells[3]), SLOT, int(town.columns(SLOT).mean[3, 1])) == (proved.cell, proved.issued.slot, proved.mean_milli)
    assert f"ridecast ledger check-proof {path.name} --key {KEY}" in result.output


def test_the_command_and_the_api_say_the_same(town: Town, run: Run) -> None:
    """The proof of the API is the command's, letter by letter."""
    words = [str(word) for word in prove_words(town)]
    cell, target, horizon_min = words[6], words[8], words[10]
    assert proof_of(town, run) == town.client().get(f"/v1/regions/nyc/forecasts/{cell}/{target}/{horizon_min}/proof").text


def test_out_names_the_file(town: Town, run: Run, tmp_path: Path) -> None:
    """The file may be named, and replaces an older one whole."""
    (tmp_path / "p").write_text("older and longer" * 1_000)
    run(*prove_words(town), "--out", "p", "--measure", "pickups")
    assert proof_of(town, run) == (tmp_path / "p").read_text("utf-8")
    assert ["p"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"--cell": "u4pruy"}, 1, "no forecast for cell"),
        ({"--cell": "dr5"}, 2, "--cell: expected 6 letters in region nyc"),
        ({"--cell": "dr5rea"}, 2, "expected geohash letters"),
        ({"--horizon": "20"}, 1, "it has (15, 30, 60)"),
        ({"--target": "2014-05-06T00:31"}, 2, "--target: expected a boundary of a 5-minute slot"),
        ({"--target": "yesterday"}, 2, "--target: expected an ISO time"),
        ({"--target": "2014-11-02T01:30"}, 2, "is ambiguous"),
        (
            {"--target": "2014-06-06T00:30"},
            1,
            "for 2014-06-06T00:30:00-04:00; the newest has target 2014-05-06T00:40",
        ),
        ({"--region": "oslo"}, 1, "region oslo: not bootstrapped in this home"),
        ({"--measure": "tips"}, 2, "--measure: expected one of pickups, got 'tips'"),
    ],
)
def test_what_was_not_served_has_no_proof(town: Town, run: Run, tmp_path: Path, changed: dict[str, str], status: int, said: str) -> None:
    """What cannot be proved is said, and no file is left."""
    words = prove_words(town)
    for option, value in changed.items():
        words = [*words, option, value]  # The last one counts.
    result = run(*words)
    assert (status, True) == (status_of(result), said in said_of(result)), said_of(result)
    assert [] == list(tmp_path.iterdir())


# --- check-proof ------------------------------------------------------------------------------------------


def test_the_check_prints_the_number_and_what_vouches_for_it(town: Town, run: Run, tmp_path: Path) -> None:
    """The table holds the number, its place, its models, the entry, the checkpoint and who signed it."""
    (tmp_path / "p").write_text(proof_of(town, run), "utf-8")
    for given in (KEY, home_of(town) / PUBLIC_KEY):
        result = run("check-proof", "p", "--key", given)
        assert 0 == result.exit_code, said_of(result)
        columns, head = town.columns(SLOT), town.ledger.head("region/nyc")
        for word in (
            f"{columns.mean[3, 1] / 1000:.3f} pickups (mean)",
            f"cell {cell_text(int(town.cells[3]), 6)}",
            f"{1 + 3 * 5 + 2} of ridecast/local/region/nyc",
            f"{head.size} entries, root {head.root.hex()}",
            "10 % to 90 %",
            f"ridecast/local+{SIGNER.verifier.key_id.hex()}",
            bytes(range(32)).hex(),
        ):
            assert word in result.output


def test_witnesses_are_required(town: Town, run: Run, tmp_path: Path) -> None:
    """All witnesses that are named must have cosigned, or as many as the quorum says."""
    above, _, note = proof_of(town, run).partition("\n\n")
    (tmp_path / "p").write_text(f"{above}\n\n{cosign_note(note, WITNESSES[0], 1_400_000_000)}", "utf-8")
    first, second = (["--witness-key", witness.verifier.text()] for witness in WITNESSES)
    one = run("check-proof", "p", "--key", KEY, *first)
    assert (0, True, True) == (one.exit_code, "2014-05-13T16:53:20Z" in one.output, "1 of 1 named, 1 required" in one.output)
    both = run("check-proof", "p", "--key", KEY, *first, *second)
    assert (1, True) == (both.exit_code, "NOT PROVED: proof: expected cosignatures of 2 witnesses, got 1" in both.output)
    assert 0 == run("check-proof", "p", "--key", KEY, *first, *second, "--quorum", 1).exit_code


def test_what_is_not_proved_exits_with_1(town: Town, run: Run) -> None:
    """A changed letter, another key, a text that is no proof and bytes that are no text prove nothing."""
    text = proof_of(town, run).encode()
    other = Signer("ridecast/local", bytes(32)).verifier.text()
    for data, key in ((text.replace(b"extra w", b"extra x"), KEY), (text, other), (b"12 rides", KEY), (b"\xff\xfe", KEY), (b"", KEY)):
        result = run("check-proof", "-", "--key", key, stdin=data)
        assert (1, True) == (result.exit_code, "NOT PROVED: " in result.output), said_of(result)
    assert 0 == run("check-proof", "-", "--key", KEY, stdin=text).exit_code


@pytest.mark.parametrize(
    "words",
    [
        ("-",),
        ("-", "--key", "ridecast/local+00000000+AAAA"),
        ("-", "--key", "no such file"),
        ("no-such-proof", "--key", KEY),
        ("-", "--key", KEY, "--quorum", 1),
        ("-", "--key", KEY, "--quorum", -1),
        ("-", "--key", WITNESSES[0].verifier.text()),
        ("-", "--key", KEY, "--witness-key", KEY),
    ],
)
def test_wrong_usage_exits_with_2(run: Run, words: tuple[object, ...]) -> None:
    """Keys that are none or in the wrong place, a missing file and a quorum that cannot be are wrong usage."""
    assert 2 == status_of(run("check-proof", *words, stdin=b"anything"))


def test_the_check_opens_no_database_and_no_network(town: Town, run: Run, tmp_path: Path) -> None:
    """It imports neither a database driver nor a shell of ours, and no socket is opened."""
    (tmp_path / "p").write_text(proof_of(town, run), "utf-8")
    code = (
        "import sys, socket; sys.addaudithook(lambda name, _: sys.exit(name) if name in ('socket.connect', 'sqlite3.connect') else None);"
        f"sys.argv = ['ridecast', 'ledger', 'check-proof', 'p', '--key', '{KEY}'];"
        "from ridecast.main import main\n"
        "try: main()\n"
        "finally: print(sorted({'sqlalchemy', 'sqlite3', 'pg8000', 'dataflows', 'api', 'redis', 'confluent_kafka'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (0, "[]") == (done.returncode, done.stdout.splitlines()[-1]), done.stderr


def test_the_plain_page_checks_what_the_command_writes(town: Town, run: Run) -> None:
    """The page of plain Python in docs reads the same number from the file."""
    check = runpy.run_path(str(ROOT / "docs" / "check_proof.py"))["check"]
    found = check(proof_of(town, run), KEY)
    assert (int(town.columns(SLOT).mean[3, 1]), "nyc", SLOT) == (found["mean_milli"], found["region"], found["slot"])


# --- export -----------------------------------------------------------------------------------------------


def test_logs_and_tables_leave_together(town: Town, run: Run, tmp_path: Path) -> None:
    """Both are written in one call: each log verifies with the key, each table opens, and a second call adds nothing."""
    result = run("export", "--home", home_of(town), "--tiles", "audit", "--parquet", "tables", "--blobs")
    assert 0 == result.exit_code, said_of(result)
    for log in ("control", "region/nyc"):
        _, report = check_export(lambda path, log=log: (tmp_path / "audit" / log / path).read_bytes(), [SIGNER.verifier])  # type: ignore[misc]
        assert (town.ledger.head(log).size, ()) == (report.entries, report.problems)
    assert 8 + 1 <= len(list((tmp_path / "audit/region/nyc/blobs").iterdir()))
    assert town.ledger.head("control").size == pq.read_metadata(tmp_path / "tables/control.parquet").num_rows
    again = run("export", "--home", home_of(town), "--tiles", "audit")
    assert re.search(r"region/nyc: 25 entries \(0 new\), 0 files written$", again.output, re.MULTILINE)


def test_one_log_may_be_picked(town: Town, run: Run, tmp_path: Path) -> None:
    """Only the log that is named is written, without blobs unless they are wanted."""
    assert 0 == run("export", "--home", home_of(town), "--tiles", "audit", "--log", "control").exit_code
    assert ["control"] == sorted(path.name for path in (tmp_path / "audit").iterdir() if path.is_dir())
    assert {"checkpoint", "tile"} == {path.name for path in (tmp_path / "audit/control").iterdir()}


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ((), 2),
        (("--blobs", "--parquet", "t"), 2),
        (("--log", "control", "--parquet", "t"), 2),
        (("--tiles", "a", "--from", "2014-05-01"), 2),
        (("--parquet", "t", "--from", "soon"), 2),
        (("--parquet", "t", "--from", "2014-05-02", "--to", "2014-05-01"), 2),
        (("--tiles", "a", "--log", "region/oslo"), 2),
    ],
)
def test_what_cannot_be_exported_is_said(town: Town, run: Run, tmp_path: Path, words: tuple[str, ...], status: int) -> None:
    """Nothing to write, options without their folder and an unknown log are refused before anything is written."""
    assert status == status_of(run("export", "--home", home_of(town), *words))
    assert [] == list(tmp_path.iterdir())
