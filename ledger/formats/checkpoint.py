"""How a log's size and root are written: the text of a C2SP checkpoint.

Parsing and formatting only. Writing checkpoints, and handling one that does not match, is in `ledger.store.guard`.
"""

import base64
import binascii
import re
from dataclasses import dataclass

from schemas.errors import DamagedError

LARGEST_SIZE = (1 << 63) - 1  # C2SP tlog-checkpoint


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A claim about a log: its number of entries and its root.

    Attributes:
        origin: Identifies the log and instance, see `origin_of`.
        size: Number of entries.
        root: RFC 6962 root over them; the length is not checked here.
        extensions: Additional lines of the body.
        signatures: Signature lines, unmodified and not verified here.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()

    def body(self) -> str:
        """The text that is signed.

        >>> print(Checkpoint("ridecast/local/control", 0, bytes(3)).body(), end="")
        ridecast/local/control
        0
        AAAA
        """
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode("ascii"), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    def text(self) -> str:
        """The body, followed by an empty line and the signatures if there are any."""
        return self.body() + ("\n" + "".join(f"{line}\n" for line in self.signatures) if self.signatures else "")


def origin_of(instance: str, log: str, number: int = 1) -> str:
    """Origin line of a log; the number increases with each `ridecast ledger continue`, so that no origin ever forks.

    >>> origin_of("local", "region/nyc"), origin_of("local", "region/nyc", 2)
    ('ridecast/local/region/nyc', 'ridecast/local@2/region/nyc')
    """
    return f"ridecast/{instance}/{log}" if number == 1 else f"ridecast/{instance}@{number}/{log}"


def number_of(origin: str, instance: str, log: str) -> int | None:
    """The number of an origin; None if the origin is not of this log and instance.

    >>> number_of("ridecast/local@2/region/nyc", "local", "region/nyc")
    2
    """
    found = re.fullmatch(rf"ridecast/{re.escape(instance)}(?:@([1-9][0-9]{{0,8}}))?/{re.escape(log)}", origin)
    return int(found[1] or 1) if found else None


def parse_checkpoint(text: str) -> Checkpoint:
    """Parse a checkpoint.

    Raises:
        DamagedError: the text is not a checkpoint; the message names the part that is wrong.
    Source:
        C2SP tlog-checkpoint and signed-note.

    >>> parse_checkpoint("a log\\n12\\nAAAA\\n").size
    12
    """
    body, separator, signed = text.partition("\n\n")
    if separator:
        body += "\n"
    lines = body.split("\n")
    if len(lines) < 4 or lines.pop() != "":
        raise DamagedError(f"checkpoint: expected at least three whole lines (origin, size, root), got {body[:200]!r}")
    origin, size, encoded, *extensions = lines
    if not origin:
        raise DamagedError("checkpoint: expected an origin in the first line, got an empty line")
    short = size.isascii() and size.isdecimal() and len(size) <= len(str(LARGEST_SIZE))  # Python's int() rejects more than 4,300 digits.
    if not short or str(int(size)) != size or int(size) > LARGEST_SIZE:
        raise DamagedError(f"checkpoint: expected a decimal size up to {LARGEST_SIZE}, got {size[:40]!r}")
    try:
        root = base64.b64decode(encoded, validate=True)
    except binascii.Error as cause:
        raise DamagedError(f"checkpoint: expected a root in base64, got {encoded[:60]!r}") from cause
    signatures = signed.split("\n") if separator else []
    if separator and (signatures.pop() != "" or not signatures or not all(line.startswith("— ") for line in signatures)):
        raise DamagedError("checkpoint: expected signature lines that start with a dash (U+2014) and a space")
    return Checkpoint(origin, int(size), root, tuple(extensions), tuple(signatures))
