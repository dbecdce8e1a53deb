"""Progress of fits that run at the same time on threads of their own, told by the thread that waits for them."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, wait
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

Found = TypeVar("Found")
OnProgress = Callable[[str, float], None]

TELL_EVERY_S = 1.0  # while horizons are fitted: a fit takes up to a minute, and a process that says nothing for so long counts as hung


@dataclass(slots=True)
class FitSteps:
    """Progress of fits that run at the same time: their threads take steps, the thread that waits for them tells of these."""

    on_progress: OnProgress
    total: int
    done: int = 0
    ended: bool = False  # a fit failed, or the caller was told to end: no other is needed any more
    untold: list[tuple[str, float]] = field(default_factory=list)
    newest: tuple[str, float] | None = None
    lock: Lock = field(default_factory=Lock)

    def take(self, stage: str) -> None:
        """A step begins; as many as began before count as done."""
        with self.lock:
            if self.ended:
                raise CancelledError
            self.untold.append((stage, self.done / self.total))
            self.done += 1

    def tell(self) -> None:
        """Tell of the steps that began, or of the newest once more."""
        with self.lock:
            told, self.untold = self.untold, []
        for step in told or ([self.newest] if self.newest is not None else []):
            self.newest = step
            self.on_progress(*step)


def all_of(fits: "Sequence[Future[Found]]", steps: FitSteps) -> list[Found]:
    """The results of all fits; when one fails, or the caller is told to end, the others end before their next step."""
    try:
        running = set(fits)
        while running:
            ended, running = wait(running, TELL_EVERY_S, FIRST_EXCEPTION)
            steps.tell()
            for fit in ended:
                fit.result()
        return [fit.result() for fit in fits]
    except BaseException:
        steps.ended = True
        for fit in fits:
            fit.cancel()
        raise
