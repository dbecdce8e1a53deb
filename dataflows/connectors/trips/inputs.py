"""Which files an import reads, and their content: files, directories and globs, compressed or not."""

import bz2
import glob
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]

from dataflows.connectors.sources import ORIGIN_FILE
from schemas.errors import UsageError

EXPECTED = "expected a Parquet or CSV file of trips"
SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
PARQUET_MAGIC = b"PAR1"
ZIP_MAGIC = b"PK\x03\x04"
_GLOB = frozenset("*?[")

# First bytes of what people give by mistake, and what to do about it.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", "save the sheet as CSV"),
    (b"SQLite format 3\x00", "an SQLite database", "export the table as CSV"),
    (b"Obj\x01", "an Avro file", "convert it to Parquet or CSV"),
    (b"ORC", "an ORC file", "convert it to Parquet or CSV"),
    (b"ARROW1", "an Arrow file", "convert it to Parquet or CSV"),
    (b"%PDF", "a PDF document", "export the table as CSV"),
    (b"{", "JSON", "convert it to CSV with one row per trip"),
    (b"[", "JSON", "convert it to CSV with one row per trip"),
    (b"<", "a web page or XML", "check the download"),
)


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Trip files in a fixed order, and other files of the directories, which are not read."""

    paths: tuple[Path, ...]
    ignored: tuple[Path, ...]


def find_files(words: Sequence[str]) -> FoundFiles:
    """The files that a command line names.

    Args:
        words: Files, directories (searched with everything below them) and globs.
    Raises:
        UsageError: a directory without trip files, a glob without a match, or a path that does not exist.
    """
    paths, ignored = list[Path](), list[Path]()
    for word in words:
        path = Path(word)
        if path.is_dir():
            logs = {item.parent for item in path.rglob(ORIGIN_FILE)}  # of earlier imports, with their rejected rows
            inside = [item for item in sorted(path.rglob("*")) if item.is_file() and not _hidden(item.relative_to(path))]
            inside = [item for item in inside if not logs & set(item.parents)]
            trips = [item for item in inside if _is_trips(item)]
            if not trips:
                holds = ", ".join(item.name for item in inside[:5]) or "nothing"
                raise UsageError(f"{path}: expected a directory with files named {', '.join(SUFFIXES)}, got one that holds {holds}")
            paths += trips
            ignored += [item for item in inside if not _is_trips(item)]
        elif path.exists() or not _GLOB & set(word):
            if path.exists() and not path.is_file():
                raise UsageError(f"{path}: {EXPECTED}, got a pipe or a device", remedy="save it as a file: it is read more than once")
            paths.append(path)
        else:
            matches = [Path(name) for name in sorted(glob.glob(word, recursive=True)) if Path(name).is_file()]
            if not matches:
                raise UsageError(f"{word}: {EXPECTED}, found no file that matches")
            paths += matches
    return FoundFiles(tuple(paths), tuple(ignored))


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _is_trips(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return bool(suffixes) and (suffixes[-1] in SUFFIXES or (suffixes[-1] in PACKED and len(suffixes) > 1 and suffixes[-2] in SUFFIXES))


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if its first bytes are those of gzip, bzip2, xz, Zstandard or zip.

    Raises:
        UsageError: the file is damaged, incomplete, or certainly no table of trips.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        elif data.startswith(b"BZh"):
            data = bz2.decompress(data)
        elif data.startswith(b"\xfd7zXZ\x00"):
            data = lzma.decompress(data)
        elif data.startswith(b"\x28\xb5\x2f\xfd"):
            with pa.input_stream(pa.BufferReader(data), compression="zstd") as stream:
                data = stream.read()
        elif data.startswith(ZIP_MAGIC):
            data = _only_member(path, data)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as cause:
        raise UsageError(f"{path}: cannot be read: {cause}", remedy="the file is damaged or incomplete; get it again") from cause
    if path.suffix.lower() in PACKED and data.startswith((b"\x1f\x8b", b"BZh", ZIP_MAGIC)):
        raise UsageError(f"{path}: expected one compression, got another inside", remedy="unpack the file once")
    for magic, name, remedy in _OTHERS:
        if data.removeprefix(b"\xef\xbb\xbf").lstrip()[: len(magic)] == magic:
            raise UsageError(f"{path}: {EXPECTED}, got what looks like {name}", remedy=remedy)
    return data


def _only_member(path: Path, data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [item.filename for item in archive.infolist() if not item.is_dir() and not item.filename.startswith("__MACOSX/")]
        if "[Content_Types].xml" in names:
            raise UsageError(f"{path}: {EXPECTED}, got an Excel workbook", remedy="save the sheet as CSV")
        if len(names) != 1:
            shown = ", ".join(names[:5]) or "none"
            raise UsageError(f"{path}: expected one file in the archive, got {len(names)}: {shown}", remedy="unpack it and name the files")
        return archive.read(names[0])
