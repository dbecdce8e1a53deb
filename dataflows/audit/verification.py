"""Which logs to verify, in a home or among exported tiles, and which checkpoints to compare each with.

How a log is recomputed from its bytes is in `ledger.check.verify` and `ledger.check.tile_check`.
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
BLOBS = "blobs"  # folder next to a log's tiles, see `dataflows.jobs.exports.tiles`
MOST_TRIES = 3  # for an export that is updated during the check

OnLog = Callable[[str], Progress]  # log about to be checked -> callback for (entries done, entries in total)


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What to verify, and against which checkpoints.

    Attributes:
        log: The only log to verify; empty for all.
        against: Files with checkpoints saved elsewhere.
        verifiers: Keys that may have signed, the log's own first.
        processes: Number of processes that check blobs.
        deep: Whether to fold regions again from their records, and to recompute the roots of all issues from their chunks.
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
        UsageError: a file in `against` is not a checkpoint, or belongs to no log here.
        StoreUnavailable: the database does not answer.
    """
    logs = _logs_of(stores)
    saved = _saved_by_log(options, logs)
    opened = partial(blobs_at, stores.settings.home, stores.settings.database, stores.settings.archive)
    reports = []
    with BlobPool(opened, options.processes) as pool:
        for log in _chosen(sorted(saved), options.log):
            has_expired = _expired(stores.ledger, log)
            try:
                report = verify_log(
                    stores.ledger,
                    log,
                    on_progress=on_log(log),
                    against=saved[log],
                    check_blobs=pool.check,
                    has_expired=has_expired,
                    every_root=options.deep,
                )
            except NotFound:
                report = _absent(stores.ledger, log, saved[log])
            if options.deep and (region := region_in(log)) is not None:
                report = _folded(stores, report, region, on_log(f"{log}, folding"))
            reports.append(report)
    return reports


def _folded(stores: Stores, report: Report, region: str, on_progress: Progress) -> Report:
    """A region's report with the problems found by folding its records again; damaged records are not folded."""
    from dataflows.audit.deep import fold_again  # Imports the whole core, which takes a second.

    if report.problems or not report.entries:
        return report
    found = fold_again(stores.ledger, stores.blobs, stores.environment, region, on_progress)
    return replace(report, problems=(*report.problems, *found))


def verify_folder(folder: Path, options: VerifyOptions, on_log: OnLog) -> list[Report]:
    """Verify exported tiles: those of one log, or of every log below a folder.

    Raises:
        UsageError: there is no such log.
        NotFound: there is no export below the folder.
        UsageError: a file in `against` is not a checkpoint, or belongs to no log here.
        StoreUnavailable: the disk does not answer.
    """
    places = {_name_of(path.parent, folder): path.parent for path in sorted(folder.rglob(CHECKPOINT_PATH)) if path.is_file()}
    if not places:
        raise NotFound(f"--tiles: expected an export below {folder}, found no file named {CHECKPOINT_PATH}")
    saved = _saved_by_log(options, sorted(places))
    return [
        _export(log, places[log], options, saved[log], on_log(log)) if log in places else _lost(log, saved[log], "the export")
        for log in _chosen(sorted(saved), options.log)
    ]


def _export(log: str, place: Path, options: VerifyOptions, saved: Sequence[StoredCheckpoint], on_progress: Progress) -> Report:
    """Check one export; if it has problems and was updated during the check, check it again."""
    for left in range(MOST_TRIES - 1, -1, -1):
        before = _read(place, CHECKPOINT_PATH)
        report = _export_once(log, place, options, saved, on_progress)
        if not report.problems or not left or _read(place, CHECKPOINT_PATH) == before:
            break
    return report


def _export_once(log: str, place: Path, options: VerifyOptions, saved: Sequence[StoredCheckpoint], on_progress: Progress) -> Report:
    problems: list[Problem] = []
    with BlobPool(partial(BlobFolder, place / BLOBS), options.processes) as pool:
        checks = BlobChecks(pool.check if (place / BLOBS).is_dir() else None, every_root=options.deep)

        def on_entry(index: int, payload: bytes) -> None:
            if index % 1_000 == 0:
                on_progress(index, index + 1)
            try:
                checks.add(blobs_of_entry(index, skim(payload)))
            except DamagedError as damage:
                problems.append(Problem(index, str(damage)))

        try:
            checkpoint, found = check_export(partial(_read, place), options.verifiers, on_entry, saved)
        except DamagedError as damage:
            return Report(log, 0, "", None, 0, (Problem(None, f"{CHECKPOINT_PATH}: {damage}"),))
        checks.finish()
    tile_problems = [Problem(None, str(problem)) for problem in found.problems]
    if not checkpoint.origin.endswith(f"/{log}"):
        tile_problems.append(Problem(None, f"{CHECKPOINT_PATH}: expected the checkpoint of {log}, got one of {checkpoint.origin}"))
    on_progress(found.size, found.size)
    return Report(
        log,
        found.entries,
        found.root.hex(),
        checkpoint.size,
        checks.count,
        (*tile_problems, *problems, *checks.problems),
        checks.expired,
        checks.roots,
    )


# --- which logs, and the checkpoints to compare them with --------------------------------------------------


def _logs_of(stores: Stores) -> list[str]:
    """Names of the logs that exist, and of those that should exist because they have a checkpoint."""
    home = stores.settings.home
    stems = {file_stem(log) for log in stores.ledger.guard.files.logs()}
    if not stores.settings.database:
        stems |= {path.stem for path in (home / "ledger").glob("*.sqlite")}
        return sorted(stem.replace("__", "/", 1) for stem in stems)
    with suppress(DamagedError):  # The row of a log cannot be read; its name is known from its checkpoint.
        stems |= {file_stem(log) for log in stores.ledger.logs()}
    return sorted(stem.replace("__", "/", 1) for stem in stems)


def _chosen(logs: Sequence[str], name: str) -> Sequence[str]:
    if name and name not in logs:
        raise UsageError(f"--log: expected one of {', '.join(logs) or 'none yet'}, got {name!r}")
    return [name] if name else logs


def _absent(ledger: Ledger, log: str, saved: Sequence[StoredCheckpoint]) -> Report:
    """A log that is not in the database; nothing is lost if no checkpoint covers an entry."""
    try:
        checkpoints = [*own_checkpoint(ledger, log), *saved]
    except BootRefused as refusal:
        return Report(log, 0, "", None, 0, (Problem(None, f"{CHECKPOINT_PATH}: {refusal}"),))
    return _lost(log, checkpoints, "the database")


def _lost(log: str, checkpoints: Sequence[StoredCheckpoint], store: str) -> Report:
    lost = [
        Problem(None, f"{one.source}: it covers {one.checkpoint.size} entries, {store} has no {display_name(log)}: the log is missing")
        for one in checkpoints
        if one.checkpoint.size
    ]
    return Report(log, 0, "", checkpoints[0].checkpoint.size if checkpoints else None, 0, tuple(lost))


def _saved_by_log(options: VerifyOptions, logs: Sequence[str]) -> dict[str, list[StoredCheckpoint]]:
    """Log -> the checkpoints of it in the files of `against`."""
    found: dict[str, list[StoredCheckpoint]] = {log: [] for log in logs}
    for path in options.against:
        try:
            text = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as cause:
            raise UsageError(f"--against {path}: expected a file with a signed checkpoint: {cause}") from cause
        saved = open_stored_checkpoint(text, path.name, options.verifiers)
        origin = ORIGIN.fullmatch(saved.checkpoint.origin)
        log = origin[1] if origin else ""
        foreign = log not in found and bool(saved.fault)  # of a log that is not here, and not signed by a known key
        if not log or foreign or (options.log and log != options.log):
            expected = options.log or ", ".join(logs)
            raise UsageError(f"--against {path}: expected a checkpoint of {expected}, got one of {saved.checkpoint.origin}")
        found.setdefault(log, []).append(saved)  # A signed checkpoint of a missing log shows damage, not a wrong argument.
    return found


def _expired(ledger: Ledger, log: str) -> Callable[[NamedBlob], bool]:
    """Whether the ledger records that a log's chunks of a slot expired; the records are read when the first blob is missing."""
    known: list[BlobsExpired] = []
    loaded = False

    def has_expired(named: NamedBlob) -> bool:
        nonlocal loaded
        if not loaded:
            loaded = True
            # Only signed records count: anyone who can write to the database could add an unsigned one.
            checkpoint = ledger.guard.read(RUNS_LOG)
            signed = checkpoint.size if checkpoint is not None else 0
            known.extend(ledger.records(RUNS_LOG, BlobsExpired, 0, signed))
        if named.slot is None or named.retention != Retention.FORECAST:
            return False  # Counts and models never expire, even if a record claims it.
        return any(
            region_log(one.region) == log and one.retention == named.retention and one.from_slot <= named.slot < one.until_slot
            for one in known
        )

    return has_expired


def _name_of(place: Path, folder: Path) -> str:
    """A log's name: its path below the folder; if the folder itself is the export, the name in its checkpoint."""
    if place != folder:
        return place.relative_to(folder).as_posix()
    origin = ORIGIN.match(_read(place, CHECKPOINT_PATH).decode("utf-8", "replace"))
    return origin[1] if origin else place.name


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
