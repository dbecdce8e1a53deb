"""How long to wait before something that failed is tried again: longer each time, and never at the same moment as others.

Pure: the clock and the randomness are passed in. The supervisor waits so for its processes, and a process for what it
needs only now and then.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds of the waits.

    Attributes:
        first_s: The first wait.
        longest_s: No wait is longer; each is twice as long as the one before.
        spread: Share of a wait that is drawn by lot, so that many clients do not return to a server in the same moment.
        steady_after_s: After working for so long, a failure is a new one and not the next in a row.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    spread: float = 0.25
    steady_after_s: float = 60.0

    def wait_s(self, tries: int, lot: float) -> float:
        """The wait before a try.

        Args:
            tries: Failures so far, at least 1.
            lot: Uniform in [0, 1).

        >>> [Patience(spread=0).wait_s(tries, 0.0) for tries in (1, 2, 3, 7, 5_000)]
        [0.5, 1.0, 2.0, 30.0, 30.0]
        >>> Patience().wait_s(1, 0.0), Patience().wait_s(1, 1.0)
        (0.375, 0.5)
        """
        doublings = min(tries - 1, 60)  # more would overflow, and the longest wait is reached long before
        return min(self.longest_s, self.first_s * 2.0**doublings) * (1.0 - self.spread * (1.0 - lot))


@dataclass(frozen=True, slots=True)
class Failures:
    """Failures in a row.

    Attributes:
        count: How many.
        since_s: When the first was, in seconds of a clock that only moves forward.
        bugs: How many of them were errors of ours, see `schemas.errors.Fault`.
    """

    count: int
    since_s: float
    bugs: int = 0

    def lasted_s(self, now_s: float) -> float:
        """Time since the first."""
        return now_s - self.since_s


def failed(before: Failures | None, now_s: float, *, worked_s: float, bug: bool = False, patience: Patience) -> Failures:
    """The failures in a row with one more.

    Args:
        before: The earlier ones, None for none.
        now_s: When it failed.
        worked_s: How long it had worked before it failed.
        bug: Whether it is an error of ours.
        patience: Says how long it must have worked for the row to begin anew.

    >>> one = failed(None, 100.0, worked_s=5.0, patience=Patience())
    >>> failed(one, 110.0, worked_s=5.0, bug=True, patience=Patience())
    Failures(count=2, since_s=100.0, bugs=1)
    >>> failed(one, 300.0, worked_s=60.0, patience=Patience())
    Failures(count=1, since_s=300.0, bugs=0)
    """
    if before is None or worked_s >= patience.steady_after_s:
        return Failures(1, now_s, int(bug))
    return Failures(before.count + 1, before.since_s, before.bugs + bug)
