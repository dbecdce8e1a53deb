"""A small ledger to tamper with: a home with three logs, blobs and checkpoints, its tiles, and a checkpoint kept elsewhere."""

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from dataflows.audit.verification import VerifyOptions, verify_folder, verify_stores
from dataflows.jobs.exports.tiles import export_blobs, export_tiles
from dataflows.stream.signing import verifier_of
from dataflows.stream.stores import Stores, open_stores
from ledger.check.verify import Progress, Report
from ledger.formats.keys import Verifier
from ledger.formats.merkle import leaf_hash, root
from ledger.store.blobs import Retention
from schemas.configuration.settings import Settings
from schemas.forecasts.chunks import encode_chunks, pack_blob
from schemas.records.record_codec import encode
from schemas.records.records import (
    CONTROL_LOG,
    RUNS_LOG,
    CountTable,
    ForecastIssued,
    ModelPromoted,
    Record,
    RunStopped,
    SlotClosed,
    SlotCounts,
    SlotScored,
)
from tests.schemas.forecasts.test_chunks import HORIZONS_MIN, forecasts

LOG = "region/nyc"
FIRST_SLOT = 4_667_000


@dataclass(frozen=True, slots=True)
class SmallLedger:
    """A small ledger in a folder.

    Attributes:
        folder: Contains `home`, and after an export `tiles` and `kept.txt`.
    """

    folder: Path

    @property
    def home(self) -> Path:
        """The home with the database."""
        return self.folder / "home"

    @property
    def tiles(self) -> Path:
        """Every log as tiles, with its blobs."""
        return self.folder / "tiles"

    @property
    def kept(self) -> Path:
        """A checkpoint of the region's log that a third party keeps."""
        return self.folder / "kept.txt"

    def settings(self) -> Settings:
        """Settings with this home."""
        return Settings.from_env({"RIDECAST_HOME": str(self.home)})

    def key(self) -> Verifier:
        """The key that signs its checkpoints."""
        return verifier_of(self.settings())

    def copy(self, folder: Path) -> "SmallLedger":
        """Copy it to another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return SmallLedger(folder)

    def append(self, slots: range) -> None:
        """Append closes of these slots."""
        stores = open_stores(self.settings())
        for slot in slots:
            append_close(stores, slot)
        stores.close()

    def verified(self, *against: Path, verifier: Verifier | None = None, log: str = "") -> list[str]:
        """The problems that the verifier reports of the home, or of one log."""
        stores = open_stores(self.settings(), reading=True, verifier=verifier)
        try:
            keys = (verifier,) if verifier else (self.key(),) if against else ()
            return _problems(verify_stores(stores, VerifyOptions(log, against, keys), silent))
        finally:
            stores.close()

    def tiles_verified(self, *against: Path, verifier: Verifier | None = None) -> list[str]:
        """The problems that the verifier reports of the tiles."""
        return _problems(verify_folder(self.tiles, VerifyOptions(against=against, verifiers=(verifier or self.key(),)), silent))

    def export(self) -> None:
        """Write the tiles, and keep a checkpoint."""
        stores = open_stores(self.settings(), reading=True)
        for log in stores.ledger.logs():
            note = stores.ledger.guard.note(log)
            assert note is not None
            export_tiles(stores.ledger, log, note, self.tiles)
            export_blobs(stores.ledger, stores.blobs, log, stores.ledger.head(log).size, self.tiles)
            if log == LOG:
                self.kept.write_text(note, "utf-8")
        stores.close()

    def content(self) -> dict[str, object]:
        """All readable content of the home, read without Ridecast's code: rows, blobs, checkpoints and key."""
        found: dict[str, object] = {}
        for path in sorted((self.home / "ledger").glob("*.sqlite")):
            connection = sqlite3.connect(path)
            for table, columns in (
                ("logs", "id, name, size, frontier"),
                ("entries", 'log_id, "index", kind, slot, subject, leaf, payload'),
                ("nodes", 'log_id, level, "index", hash'),
            ):
                found[f"{path.stem} {table}"] = connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()
            connection.close()
        for path in sorted((*(self.home / "blobs").rglob("*"), *(self.home / "checkpoints").glob("*.txt"))):
            if path.is_file():
                found[str(path.relative_to(self.home))] = path.read_bytes()
        found["key"] = self.key()
        return found


def make_small_ledger(folder: Path, closes: int = 4) -> SmallLedger:
    """A ledger of a few closes in three logs."""
    made = SmallLedger(folder)
    stores = open_stores(made.settings())
    model = stores.blobs.put(b"a model's artefact" * 9, Retention.MODEL)
    append(stores, CONTROL_LOG, ModelPromoted(region="nyc", measure="pickups", model=model, alias="champion", reason="better"))
    for slot in range(FIRST_SLOT, FIRST_SLOT + closes):
        append_close(stores, slot)
    append(stores, RUNS_LOG, RunStopped(run="a run", stopped_at_us=1_700_000_000_000_000, sizes={"control": 1}))
    stores.close()
    return made


def append_close(stores: Stores, slot: int) -> None:
    """A close as a region appends it: counts, scores, an issue."""
    head = stores.ledger.head(CONTROL_LOG)
    table = CountTable(measure="pickups", slots=(slot, 0, 0), cells=(1_000, 7, 9), counts=(slot % 5, 3, 1))
    blob = stores.blobs.put(encode(SlotCounts(counts=(table,), corrections=())), Retention.PERMANENT) if slot % 2 else b""
    closed = SlotClosed(
        region="nyc",
        slot=slot,
        status="observed",
        partitions=(),
        counts=() if blob else (table,),
        corrections=(),
        counts_blob=blob,
        control_size=head.size,
        control_root=head.root,
    )
    chunks = encode_chunks(forecasts(20, slot))
    digests = stores.blobs.put(pack_blob(chunks), Retention.FORECAST), root([leaf_hash(chunk) for chunk in chunks])
    issued = ForecastIssued(
        region="nyc",
        measure="pickups",
        slot=slot,
        target_us=0,
        horizons_min=HORIZONS_MIN,
        models=(),
        features_digest=b"",
        family="negative_binomial",
        spread=(),
        cells=20,
        chunks=len(chunks),
        root=digests[1],
        blob=digests[0],
        fallbacks={},
        universe_version=1,
        slot_status="observed",
    )
    append(stores, LOG, closed, SlotScored(region="nyc", measure="pickups", slot=slot, settled=False, rows=()), issued)


def append(stores: Stores, log: str, *records: Record) -> None:
    """Append records at the end of a log."""
    stores.ledger.append(log, stores.ledger.head(log).size, [encode(record) for record in records])


def silent(log: str) -> Progress:
    """Ignore progress."""
    return lambda done, total: None


def _problems(reports: list[Report]) -> list[str]:
    return [f"{report.log}: {problem}" for report in reports for problem in report.problems]
