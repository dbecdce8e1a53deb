"""What a person watching sees: bars while something counts, and one line that changes while something runs.

All of it goes to standard error, so that what a command answers can be piped. Where that is no terminal,
nothing is drawn over: bars are left out, and the line is printed anew every few seconds.
"""

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.progress import Progress, ProgressColumn
from rich.text import Text

PLAIN_EVERY_S = 5.0
WIDE = 120  # columns of a table that no terminal bounds


def bars(*columns: ProgressColumn | str) -> Progress:
    """Progress bars that vanish when they are done."""
    console = Console(stderr=True)
    return Progress(*(columns or Progress.get_default_columns()), console=console, transient=True, disable=not console.is_terminal)


def answers() -> Console:
    """Standard output, for tables: as wide as the terminal, or wide enough for whoever reads a file."""
    found = Console()
    return found if found.is_terminal else Console(width=max(found.width, WIDE))


class Line:
    """One line that says how far something is.

    Args:
        console: Where it is shown.
        clock: Monotonic seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._shown_at = -PLAIN_EVERY_S
        self._text = ""

    def __enter__(self) -> "Line":
        if self._live is not None:
            self._live.start()
        return self

    def show(self, text: str) -> None:
        """Say how far it is now; off a terminal only every few seconds, and nothing twice."""
        if self._live is not None:
            self._live.update(_whole(text))
        elif text != self._text and self._clock() - self._shown_at >= PLAIN_EVERY_S:
            self._shown_at, self._text = self._clock(), text
            self.say(text)

    def say(self, text: str) -> None:
        """A line that stays, above the one that changes."""
        self._console.print(_whole(text), soft_wrap=True)

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()


def _whole(text: str) -> Text:
    """The text as it is: no markup, no colours by guess; in the changing line it is cut where the terminal ends."""
    return Text(text, no_wrap=True, overflow="ellipsis")
