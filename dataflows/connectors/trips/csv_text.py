"""Reads CSV as people write it: encodings, delimiters, quotes; and knows at which line of the file each row starts."""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pacsv  # type: ignore[import-untyped]

from schemas.errors import UsageError
from schemas.events.rides import Int64s

DELIMITERS = ",;\t|"
NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SEP = re.compile(rb'^"?sep=(.)"?\r?\n', re.IGNORECASE)  # Excel's own first line
_NUMBER = re.compile(r"\s*[+-]?\d+([.,]\d+)?\s*")
_END = "\x00end"
NOTHING = "\x1f"  # a delimiter that no file has: each line is one field
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class CsvRules:
    """How a CSV file is written; None is found out.

    Attributes:
        delimiter: One character.
        encoding: A name that Python knows, such as latin-1.
        quotes: Whether a field in double quotes may hold delimiters and line ends.
    """

    delimiter: str | None = None
    encoding: str | None = None
    quotes: bool = True

    def __post_init__(self) -> None:
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n' or not self.delimiter.isascii()):
            raise UsageError(f"--delimiter: expected one character, or tab, comma, semicolon or pipe, got {self.delimiter!r}")
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError as cause:
                raise UsageError(f"--encoding: expected a name such as utf-8, utf-16, latin-1 or cp1252, got {self.encoding!r}") from cause


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row without the fields of the heading: the line where it starts, its number from 1, what is wrong, and its text."""

    line: int
    row: int
    detail: str
    text: str


@dataclass(frozen=True, slots=True)
class CsvText:
    """A CSV file as a table of texts.

    Attributes:
        table: One column per name of the heading; a name that occurs again is extended with its position.
        line: int64[n], the line of the file where each row of the table starts, from 1.
        row: int64[n], its number among all rows, from 1 without the heading.
        bad: Rows that are not in the table.
        twice: Names that occur more than once in the heading.
        delimiter, encoding: As found or given.
    """

    table: pa.Table
    line: Int64s
    row: Int64s
    bad: list[BadRow]
    twice: frozenset[str]
    delimiter: str
    encoding: str


def read_csv(path: Path, data: bytes, rules: CsvRules) -> CsvText:
    """Parse the content of a CSV file.

    Raises:
        UsageError: not text, no heading, another encoding, or a quote that swallows lines; with the line.
    """
    data, encoding = _to_utf8(path, data, rules.encoding)
    skipped = len(data) - len(data.lstrip(b"\r\n"))
    first_line = 1 + data.count(b"\n", 0, skipped)
    data = data[skipped:]
    delimiter = rules.delimiter
    said = _SEP.match(data)
    if said:
        delimiter, data, first_line = delimiter or said[1].decode("utf-8", "replace"), data[said.end() :], first_line + 1
    heading = _heading_text(data)
    if "\x00" in heading or not heading.strip():
        raise UsageError(f"{path}: expected a CSV file with a heading, got {'binary data' if data.strip() else 'an empty file'}")
    if delimiter is None:
        delimiter = max(DELIMITERS, key=lambda mark: len(_split(heading, mark, rules.quotes)))
    names = _split(heading, delimiter, rules.quotes)
    quoted = rules.quotes and b'"' in data
    scan = _Scan(path, data, delimiter, first_line) if quoted else None
    bad: list[tuple[int, str, str]] = []

    def skip(row: pacsv.InvalidRow) -> str:
        bad.append((row.number or 1, f"expected {row.expected_columns} fields, got {row.actual_columns}", row.text))
        return "skip"

    try:
        table = pacsv.read_csv(
            io.BytesIO(data),
            # With threads, rows are not numbered. A row must fit into a block.
            read_options=pacsv.ReadOptions(use_threads=False, column_names=_unique(names), skip_rows=1, block_size=_BLOCK_BYTES),
            parse_options=pacsv.ParseOptions(
                delimiter=delimiter, quote_char='"' if rules.quotes else False, invalid_row_handler=skip, newlines_in_values=quoted
            ),
            convert_options=pacsv.ConvertOptions(column_types={name: pa.string() for name in _unique(names)}, strings_can_be_null=False),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        if scan is not None:
            scan.check()
        raise
    starts = _starts(path, data, first_line, table.num_rows + len(bad), scan)
    numbers = np.arange(1, len(starts) + 1)
    rows = [number - 2 for number, _, _ in bad]  # Arrow counts from 1, with the heading
    keep = np.ones(len(starts), np.bool_)
    keep[rows] = False
    return CsvText(
        table,
        starts[keep],
        numbers[keep],
        [BadRow(int(starts[row]), row + 1, detail, text) for row, (_, detail, text) in zip(rows, bad, strict=True)],
        frozenset(name for name in names if names.count(name) > 1),
        delimiter,
        encoding,
    )


def _to_utf8(path: Path, data: bytes, given: str | None) -> tuple[bytes, str]:
    """The same text in UTF-8 without a byte order mark, and the encoding that it had."""
    for bom, name in _BOMS:
        if data.startswith(bom):
            data, encoding = data[len(bom) :], name
            break
    else:
        head = data[:4_096]
        zeros = head.count(b"\x00")
        encoding = given or "utf-8"
        if given is None and zeros and zeros * 3 > len(head):
            encoding = "utf-16-le" if head[1::2].count(b"\x00") > head[::2].count(b"\x00") else "utf-16-be"
    if encoding == "utf-8" and data.isascii():
        return data, encoding
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as cause:
        line = data.count(b"\n", 0, cause.start) + 1
        start, stop = data.rfind(b"\n", 0, cause.start) + 1, data.find(b"\n", cause.start)
        shown = data[start : stop if stop > 0 else len(data)][:60]
        remedy = "name another --encoding" if given else "give --encoding, such as latin-1 or cp1252"
        raise UsageError(
            f"{path}: cannot be read: line {line}: expected {encoding} text, got the byte 0x{data[cause.start]:02X} in {shown!r}",
            remedy=remedy,
        ) from cause
    return (data if encoding == "utf-8" else text.encode("utf-8")), encoding


def _lines(data: bytes) -> Iterator[str]:
    return io.StringIO(data.decode("utf-8"), newline="")


def _heading_text(data: bytes) -> str:
    stops = [stop for stop in (data.find(b"\n"), data.find(b"\r")) if stop >= 0]
    return data[: min(stops, default=len(data))].decode("utf-8", "replace")


def _split(line: str, delimiter: str, quotes: bool) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE), [])


def _unique(names: list[str]) -> list[str]:
    """Distinct names for all columns.

    >>> _unique(["lat", "", "lat"])
    ['lat', '', 'lat (column 3)']
    """
    return [name if name not in names[:place] else f"{name} (column {place + 1})" for place, name in enumerate(names)]


def _starts(path: Path, data: bytes, first_line: int, rows: int, scan: "_Scan | None") -> Int64s:
    """The line where each row starts."""
    mark = b"\n" if b"\n" in data else b"\r"
    lines = data.count(mark) + (not data.endswith(mark))
    if lines == rows + 1:
        return first_line + np.arange(1, rows + 1)
    if scan is None:
        scan = _Scan(path, data, NOTHING, first_line)
    else:
        scan.check()
    starts = np.array(scan.starts()[1:], np.int64)
    if len(starts) != rows:
        raise UsageError(
            f"{path}: expected {len(starts):,} rows on {lines:,} lines, read {rows:,}; a double quote is out of place",
            remedy="put quotes only around whole fields, or give --no-quotes",
        )
    return starts


@dataclass(slots=True)
class _Scan:
    """The records of a file by Python's own reader, which knows lines; slower than Arrow, so used only where lines and rows differ."""

    path: Path
    data: bytes
    delimiter: str
    first_line: int
    _spans: list[tuple[int, int, int]] = field(default_factory=list)  # first and last line, number of fields

    def _records(self) -> list[tuple[int, int, int]]:
        if not self._spans:
            reader = csv.reader(
                _lines(self.data), delimiter=self.delimiter, quoting=csv.QUOTE_NONE if self.delimiter == NOTHING else csv.QUOTE_MINIMAL
            )
            before = 0
            try:
                for record in reader:
                    if record:
                        self._spans.append((before + 1, reader.line_num, len(record)))
                    before = reader.line_num
            except csv.Error:  # a field above the reader's limit of 128 KiB
                raise self._unclosed(before + 1) from None
        return self._spans

    def starts(self) -> list[int]:
        """The line where each record starts, heading included."""
        return [first + self.first_line - 1 for first, _, _ in self._records()]

    def check(self) -> None:
        """Refuse a quote that is not closed, or closed only after lines that are rows themselves.

        Raises:
            UsageError: with the line where the quote opens.
        """
        spans = self._records()
        long = [span for span in spans if span[1] > span[0]]
        if not long:
            return
        lines = list(_lines(self.data))
        fields = spans[0][2]
        last = spans[-1]
        if len(list(csv.reader([*lines[last[0] - 1 : last[1]], _END], delimiter=self.delimiter))) == 1:
            raise self._unclosed(last[0], lines[last[0] - 1])
        for first, stop, _ in long:
            for line in lines[first:stop]:
                inner = line.rstrip("\r\n").split(self.delimiter)
                if len(inner) == fields and sum(_NUMBER.fullmatch(text.strip('"')) is not None for text in inner) >= 2:
                    raise self._unclosed(first, lines[first - 1], f", closes on line {stop + self.first_line - 1}, and swallows rows")

    def _unclosed(self, line: int, text: str = "", how: str = " and does not close") -> UsageError:
        shown = f": {text.rstrip()[:80]!r}" if text else ""
        return UsageError(
            f"{self.path}: line {line + self.first_line - 1}: a double quote opens{how}{shown}",
            remedy="close or remove the quote, or give --no-quotes if quotes mean nothing in this file",
        )
