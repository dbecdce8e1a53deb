"""Keeps known secrets out of standard error, whoever writes there: errors, logs, tracebacks, warnings, libraries."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from schemas.secrets import clean


class CleanStream:
    """A text stream that replaces known secrets in what is written to another one; otherwise it is that stream."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner

    def write(self, text: str) -> int:
        """Write the text without known secrets."""
        if isinstance(text, str):  # others ask by writing bytes whether this is a stream of text
            self._inner.write(clean(text))
            return len(text)
        return self._inner.write(text)

    def writelines(self, lines: list[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@contextmanager
def clean_errors() -> Iterator[None]:
    """Clean standard error while the block runs."""
    inner = sys.stderr
    if inner is None:  # closed by the parent process
        yield
        return
    sys.stderr = cast(TextIO, CleanStream(inner))
    try:
        yield
    finally:
        sys.stderr = inner
