"""One row of the table of faults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One fault.

    Attributes:
        fault: What happens.
        expected: What Ridecast does.
        told: Words that the operator reads; empty if there is nothing to say.
        tests: Tests that show it, by node id; without the part in brackets, all parameters of it.
        kept: Whether the tests compare what must neither be lost nor be there twice.
        apart: Why nothing is told, or nothing can be lost.
        ci: Whether the tests belong to `make test`; the others run in `make faults` only.
    """

    group: str
    fault: str
    expected: str
    told: str
    tests: tuple[str, ...]
    kept: bool = True
    apart: str = ""
    ci: bool = True
