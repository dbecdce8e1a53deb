"""Which logs there are to verify, in a home or among exported tiles, and what each is held against.

How a log is derived again from its bytes is in `ledger.check.verify` and `ledger.check.tile_check`.
"""

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dataflows.audit.blob_pool import BlobPool
from dataflows.stream.stores import Stores
from ledger.check.blob_check import NamedBlob, blobs_of_entry
from ledger.check.stored_checkpoints import StoredCheckpoint, open_stored_checkpoint
from ledger.check.tile_check import check_export
from ledger.check.verify import BlobChecks, Problem, Progress, Report, own_checkpoint, verify_log
from ledger.formats.keys import Verifier
from ledger.formats.tiles import CHECKPOINT_PATH
from ledger.store.archive import blobs_at
from ledger.store.blobs import BlobFolder, Retention
from ledger.store.log import Ledger
from ledger.store.tables import display_name, file_stem, translated
from schemas.errors import BootRefused, DamagedError, NotFound, UsageError
from schemas.records.record_skim import skim
from schemas.records.records import RUNS_LOG, BlobsExpired, region_in, region_log

ORIGIN = re.compile(r"ridecast/[^/@\n]+(?:@[0-9]+)?/([a-z][a-z0-9_/-]*)")
BLOBS = "blobs"  # beside a log's tiles, see `dataflows.jobs.exports.tiles`
MOST_TRIES = 3  # of an export that somebody brings up to date meanwhile

OnLog = Callable[[str], Progress]  # a log is begun -> what to call with (entries done, entries in all)


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What to verify, and against what.

    Attributes:
        log: The only log; empty for all.
        against: Files with checkpoints that somebody kept.
        verifiers: Keys that may have signed, the log's own first.
        processes: That check blobs at once.
        deep: Whether regions are folded again from their records, and the roots of all issues derived from their chunks.
    """

    log: str = ""
    against: Sequence[Path] = ()
    verifiers: Sequence[Verifier] = ()
    processes: int = 1
    deep: bool = False


def verify_stores(stores: Stores, options: VerifyOptions, on_log: OnLog) -> list[Report]:
    """Verify the logs of a home or a database.

    Raises:
        UsageError: there is no such log.
        UsageError: a file to hold against is no checkpoint, or of no log here.
        StoreUnavailable: the database does not answer.
    """
    logs = _logs_of(stores)
    kept = _kept_by_log(options, logs)
    opened = partial(blobs_at, stores.settings.home, stores.settings.database, stores.settings.archive)
    reports = []
    with BlobPool(opened, options.processes) as pool:
        for log in _chosen(sorted(kept), options.log):
            has_expired = _expired(stores.ledger, log)
            try:
                report = verify_log(
                    stores.ledger,
                    log,
                    on_progress=on_log(log),
                    against=kept[log],
                    check_blobs=pool.check,
                    has_expired=has_expired,
                    every_root=options.deep,
                )
            except NotFound:
                report = _absent(stores.ledger, log, kept[log])
            if options.deep and (region := region_in(log)) is not None:
                report = _folded(stores, report, region, on_log(f"{log}, folding"))
            reports.append(report)
    return reports


def _folded(stores: Stores, report: Report, region: str, on_progress: Progress) -> Report:
    """A region's report with what folding its records again says; damaged records are not folded."""
    from dataflows.audit.deep import fold_again  # It draws in the whole core, which takes a second.

    if report.problems or not report.entries:
        return report
    found = fold_again(stores.ledger, stores.blobs, stores.environment, region, on_progress)
    return replace(report, problems=(*report.problems, *found))


def verify_folder(folder: Path, options: VerifyOptions, on_log: OnLog) -> list[Report]:
    """Verify exported tiles: one log's, or those of every log below a folder.

    Raises:
        UsageError: there is no such log.
        NotFound: there is no export at all.
        UsageError: a file to hold against is no checkpoint, or of no log here.
        StoreUnavailable: the disk does not answer.
    """
    places = {_name_of(path.parent, folder): path.parent for path in sorted(folder.rglob(CHECKPOINT_PATH)) if path.is_file()}
    if not places:
        raise NotFound(f"--tiles: expected an export below {folder}, found no file named {CHECKPOINT_PATH}")
    kept = _kept_by_log(options, sorted(places))
    return [
        _export(log, places[log], options, kept[log], on_log(log)) if log in places else _lost(log, kept[log], "the export")
        for log in _chosen(sorted(kept), options.log)
    ]


def _export(log: str, place: Path, options: VerifyOptions, kept: Sequence[StoredCheckpoint], on_progress: Progress) -> Report:
    """One export; looked at again when it grew meanwhile and seems to be wrong."""
    for left in range(MOST_TRIES - 1, -1, -1):
        before = _read(place, CHECKPOINT_PATH)
        report = _export_once(log, place, options, kept, on_progress)
        if not report.problems or not left or _read(place, CHECKPOINT_PATH) == before:
            break
    return report


def _export_once(log: str, place: Path, options: VerifyOptions, kept: Sequence[StoredCheckpoint], on_progress: Progress) -> Report:
    problems: list[Problem] = []
    with BlobPool(partial(BlobFolder, place / BLOBS), options.processes) as pool:
        checks = BlobChecks(pool.check if (place / BLOBS).is_dir() else None, every_root=options.deep)

        def look(index: int, payload: bytes) -> None:
            if index % 1_000 == 0:
                on_progress(index, index + 1)
            try:
                checks.add(blobs_of_entry(index, skim(payload)))
            except DamagedError as damage:
                problems.append(Problem(index, str(damage)))

        try:
            checkpoint, found = check_export(partial(_read, place), options.verifiers, look, kept)
        except DamagedError as damage:
            return Report(log, 0, "", None, 0, (Problem(None, f"{CHECKPOINT_PATH}: {damage}"),))
        checks.finish()
    mine = [Problem(None, str(problem)) for problem in found.problems]
    if not checkpoint.origin.endswith(f"/{log}"):
        mine.append(Problem(None, f"{CHECKPOINT_PATH}: expected the checkpoint of {log}, got one of {checkpoint.origin}"))
    on_progress(found.size, found.size)
    return Report(
        log,
        found.entries,
        found.root.hex(),
        checkpoint.size,
        checks.count,
        (*mine, *problems, *checks.problems),
        checks.expired,
        checks.roots,
    )


# --- which logs, and what they are held against -----------------------------------------------------------


def _logs_of(stores: Stores) -> list[str]:
    """Names of the logs that are there, and of those that should be because a checkpoint vouches for them."""
    home = stores.settings.home
    stems = {file_stem(log) for log in stores.ledger.guard.files.logs()}
    if not stores.settings.database:
        stems |= {path.stem for path in (home / "ledger").glob("*.sqlite")}
        return sorted(stem.replace("__", "/", 1) for stem in stems)
    with suppress(DamagedError):  # One log's row cannot be read; its name is known from its checkpoint.
        stems |= {file_stem(log) for log in stores.ledger.logs()}
    return sorted(stem.replace("__", "/", 1) for stem in stems)


def _chosen(logs: Sequence[str], wanted: str) -> Sequence[str]:
    if wanted and wanted not in logs:
        raise UsageError(f"--log: expected one of {', '.join(logs) or 'none yet'}, got {wanted!r}")
    return [wanted] if wanted else logs


def _absent(ledger: Ledger, log: str, kept: Sequence[StoredCheckpoint]) -> Report:
    """A log of which the database knows nothing: no loss if no checkpoint vouches for an entry."""
    try:
        vouching = [*own_checkpoint(ledger, log), *kept]
    except BootRefused as refusal:
        return Report(log, 0, "", None, 0, (Problem(None, f"{CHECKPOINT_PATH}: {refusal}"),))
    return _lost(log, vouching, "the database")


def _lost(log: str, vouching: Sequence[StoredCheckpoint], held: str) -> Report:
    lost = [
        Problem(None, f"{one.source}: it vouches for {one.checkpoint.size} entries, {held} holds no {display_name(log)}: it is gone")
        for one in vouching
        if one.checkpoint.size
    ]
    return Report(log, 0, "", vouching[0].checkpoint.size if vouching else None, 0, tuple(lost))


def _kept_by_log(options: VerifyOptions, logs: Sequence[str]) -> dict[str, list[StoredCheckpoint]]:
    """The checkpoints of the files that somebody kept, each with the log that it is of."""
    found: dict[str, list[StoredCheckpoint]] = {log: [] for log in logs}
    for path in options.against:
        try:
            text = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as cause:
            raise UsageError(f"--against {path}: expected a file with a signed checkpoint: {cause}") from cause
        kept = open_stored_checkpoint(text, path.name, options.verifiers)
        named = ORIGIN.fullmatch(kept.checkpoint.origin)
        log = named[1] if named else ""
        stranger = log not in found and bool(kept.fault)  # Of a log that is not here, and signed by nobody whom we know.
        if not log or stranger or (options.log and log != options.log):
            among = options.log or ", ".join(logs)
            raise UsageError(f"--against {path}: expected a checkpoint of {among}, got one of {kept.checkpoint.origin}")
        found.setdefault(log, []).append(kept)  # A log that is gone is damage, not a mistake of whoever kept its checkpoint.
    return found


def _expired(ledger: Ledger, log: str) -> Callable[[NamedBlob], bool]:
    """Whether it is on record that a log's chunks of a slot expired; asked for only when something is missing."""
    known: list[BlobsExpired] = []
    asked = False

    def has_expired(named: NamedBlob) -> bool:
        nonlocal asked
        if not asked:
            asked = True
            # What nobody signed excuses nothing: anyone who can write the database could say it.
            vouched = ledger.guard.read(RUNS_LOG)
            signed = vouched.size if vouched is not None else 0
            known.extend(ledger.records(RUNS_LOG, BlobsExpired, 0, signed))
        if named.slot is None or named.retention != Retention.FORECAST:
            return False  # Counts and models never expire, whatever a record says.
        return any(
            region_log(one.region) == log and one.retention == named.retention and one.from_slot <= named.slot < one.until_slot
            for one in known
        )

    return has_expired


def _name_of(place: Path, folder: Path) -> str:
    """A log's name is where it lies below the folder; of a log that is the folder itself, what its checkpoint says."""
    if place != folder:
        return place.relative_to(folder).as_posix()
    named = ORIGIN.match(_read(place, CHECKPOINT_PATH).decode("utf-8", "replace"))
    return named[1] if named else place.name


def _read(place: Path, path: str) -> bytes:
    with translated(str(place / path)):
        try:
            return (place / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as cause:
            raise NotFound(f"{path}: not in the export") from cause


def report_json(reports: Sequence[Report]) -> str:
    """Reports as JSON, for programs."""
    return json.dumps(
        [
            {
                "log": report.log,
                "clean": not report.problems,
                "entries": report.entries,
                "root": report.root,
                "checkpoint_size": report.checkpoint_size,
                "blobs": report.blobs,
                "roots": report.roots,
                "expired": report.expired,
                "problems": [{"index": problem.index, "what": problem.what} for problem in report.problems],
            }
            for report in reports
        ],
        indent=2,
    )
