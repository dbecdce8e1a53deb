"""Progress on the terminal: bars for steps with a known length, and one status line while something runs.

Progress goes to standard error, so that a command's output can be piped. If standard error is not a terminal,
lines every ten seconds take the place of bars, and the status line is printed again every few seconds. A status line only
shows: when nobody reads standard error any more, it shows nothing, and the command goes on.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console
from rich.live import Live
from rich.progress import Progress, ProgressColumn, SpinnerColumn, TimeElapsedColumn
from rich.text import Text

PLAIN_EVERY_S = 5.0
STEP_EVERY_S = 10.0  # without a terminal, a long step says how far it is
WIDE = 120  # columns of a table that is not printed to a terminal


def progress_bars(*columns: ProgressColumn | str) -> Progress:
    """Progress bars that disappear when they are done; without a terminal, a line every ten seconds."""
    console = Console(stderr=True)
    # A spinner and the elapsed time show that a step works, even one that cannot say how far it is.
    default = (SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn())
    if console.is_terminal:
        return Progress(*(columns or default), console=console, transient=True)
    return PlainSteps(console)


class PlainSteps(Progress):
    """Progress as plain lines: what is being done, how far it is, and since when.

    Args:
        console: Where they are printed.
        every_s: Time between two lines; a step that ends sooner prints none.
    """

    def __init__(self, console: Console, every_s: float = STEP_EVERY_S) -> None:
        super().__init__(console=console, disable=True)
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start to print; after `stop`, print again."""
        if self._thread is None:
            self._ended.clear()
            self._thread = threading.Thread(target=self._tell, name="progress", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Print no more."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    def _tell(self) -> None:
        while not self._ended.wait(self._every_s):
            for task in self.tasks:
                if not task.finished:
                    share = f" {task.percentage:.0f} %," if task.total else f" {task.completed:,.0f} done," if task.completed else ""
                    self.console.print(Text(f"{task.description}:{share} {task.elapsed or 0:,.0f} s"), soft_wrap=True)


def output_console() -> Console:
    """Standard output, for tables: as wide as the terminal, or at least 120 columns otherwise.

    What is printed is text: names and reasons that others wrote may have brackets and colons, which are no markup here.
    """
    found = Console(markup=False, emoji=False)
    return found if found.is_terminal else Console(markup=False, emoji=False, width=max(found.width, WIDE))


class StatusLine:
    """One line that shows progress.

    Args:
        console: Where it is shown.
        clock: Monotonic seconds.
        plain: The line as it is printed where there is no terminal.
    """

    def __init__(
        self, console: Console, clock: Callable[[], float] = time.monotonic, plain: Callable[[str], str] = lambda text: text
    ) -> None:
        self._console, self._clock, self._plain = console, clock, plain
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._shown_at = -PLAIN_EVERY_S
        self._text = ""

    def __enter__(self) -> "StatusLine":
        if self._live is not None:
            with _if_somebody_reads():
                self._live.start()
        return self

    def show(self, text: str) -> None:
        """Update the line; without a terminal only every few seconds, and only when it changed."""
        if self._live is not None:
            with _if_somebody_reads():
                self._live.update(_whole(text))
        elif text != self._text and self._clock() - self._shown_at >= PLAIN_EVERY_S:
            self._shown_at, self._text = self._clock(), text
            self.print(self._plain(text))

    def print(self, text: str) -> None:
        """Print a permanent line above the status line."""
        with _if_somebody_reads():
            self._console.print(_whole(text), soft_wrap=True)

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            with _if_somebody_reads():
                self._live.stop()


def _if_somebody_reads() -> suppress:
    """Ignores a closed pipe or terminal; for the first, Rich would end the program."""
    return suppress(OSError, ValueError, SystemExit)


def _whole(text: str) -> Text:
    """The text unchanged: no markup, no highlighting; the status line is truncated at the terminal's width."""
    return Text(text, no_wrap=True, overflow="ellipsis")
