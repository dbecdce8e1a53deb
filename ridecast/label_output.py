"""Where `ridecast simulate` writes the labels of its faults: with the rides, so that there are never rides without their labels."""

import json
from collections.abc import Mapping
from pathlib import Path

from ledger.store.files import write_given
from schemas.errors import StoreUnavailable, UsageError

LABELS_FILE = "labels.json"


def check_files(files: Mapping[str, Path | None], out: Path | None, supply: Path | None) -> None:
    """Check that the files that a command writes, by their options, are different and none of its directories.

    Raises:
        UsageError: two are the same, or one is a directory that is written too.
    """
    seen: dict[Path, str] = {path.resolve(): name for name, path in (("--out", out), ("--supply", supply)) if path is not None}
    for name, path in files.items():
        if path is None:
            continue
        if (other := seen.setdefault(path.resolve(), name)) != name:
            raise UsageError(f"{name}: expected another path than that of {other}, got {str(path)!r}", remedy="give each a path of its own")
    labels = files.get("--labels")
    if labels is not None and supply is not None and labels.resolve().is_relative_to(supply.resolve()):
        raise UsageError(f"--labels: expected a file outside of --supply, got {str(labels)!r}", remedy=f"give one beside {str(supply)!r}")


def write_labels(labels: Path | None, out: Path | None, folder: Path, text: str) -> None:
    """Write the labels while the rides are in `folder`, which will be renamed to `out`.

    Raises:
        StoreUnavailable: the file cannot be written; then the rides do not appear either.
    """
    path = _place(labels, out, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_given(path, text.encode("utf-8"))
    except OSError as cause:
        shown = labels if labels is not None else path
        raise StoreUnavailable(f"--labels: cannot write to {str(shown)!r}: {cause.strerror}") from cause


def keep_labels(labels: Path | None, out: Path, text: str) -> None:
    """For rides that are there already: check that their labels are too, or copy those beside the rides to another file.

    Args:
        text: The labels, with any counts.
    Raises:
        UsageError: they are not there.
        StoreUnavailable: as `write_labels`.
    """
    wanted, beside = _place(labels, out, out), out / LABELS_FILE
    if _holds(wanted, text):
        return
    if not _holds(beside, text):
        what = "which holds something else" if wanted.exists() else "which does not exist"
        raise UsageError(
            f"--labels: expected the labels of the rides in {str(out)!r}, got {str(wanted)!r}, {what}",
            remedy=f"give the file that they were written to, or remove {str(out)!r} to simulate again",
        )
    write_labels(labels, out, out, beside.read_text("utf-8"))


def _place(labels: Path | None, out: Path | None, folder: Path) -> Path:
    if labels is None:
        return folder / LABELS_FILE
    if out is not None and labels.resolve().is_relative_to(out.resolve()):
        return folder / labels.resolve().relative_to(out.resolve())
    return labels


def _holds(path: Path, text: str) -> bool:
    """Whether a file holds these labels; the counts may differ, since they are known only after a simulation."""
    try:
        return path.is_file() and _uncounted(path.read_text("utf-8")) == _uncounted(text)
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return False


def _uncounted(text: str) -> object:
    document = json.loads(text)
    return {**document, "faults": [{**fault, "events": None} for fault in document["faults"]]}
