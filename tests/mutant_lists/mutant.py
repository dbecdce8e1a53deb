"""One small way to break something, and which tests should notice it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One way to break something.

    Attributes:
        what: In a few words.
        file: Where, below the root.
        old, new: The edit; `old` occurs exactly once.
        tests: Which tests should notice: files, or one test as `file::test`.
        argued: Why no test can notice it, where none can: what it changes cannot be told from outside.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    argued: str = ""
