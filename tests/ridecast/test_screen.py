"""What is drawn where: bars and a changing line on a terminal, plain lines now and then elsewhere."""

import io
import time

import pytest
from rich.console import Console
from rich.progress import TimeElapsedColumn

from ridecast.screen import PLAIN_EVERY_S, STEP_EVERY_S, WIDE, PlainSteps, StatusLine, output_console, progress_bars


class Shown:
    """A line on a console of 40 columns, with a clock that a test moves."""

    def __init__(self, *, terminal: bool) -> None:
        self._out = io.StringIO()
        self.now_s = 100.0
        self.line = StatusLine(Console(file=self._out, force_terminal=terminal, width=40), clock=lambda: self.now_s)

    @property
    def text(self) -> str:
        """All that was written."""
        return self._out.getvalue()


def test_off_a_terminal_a_line_comes_every_few_seconds() -> None:
    """The first is shown at once, then one every few seconds, and what has not changed not at all."""
    shown = Shown(terminal=False)
    with shown.line:
        for second, text in enumerate(("a", "b", "c", "d", "e", "f", "g")):
            shown.now_s = 100.0 + second
            shown.line.show(text)
        shown.now_s = 120.0
        shown.line.show("f")
    assert shown.text == "a\nf\n"
    assert PLAIN_EVERY_S == 5.0


def test_what_is_said_stays() -> None:
    """A line that stays is written at once, as it is: whole, and without markup or colours."""
    shown = Shown(terminal=False)
    long = "[bold]region[/bold] 12:30 " + "x" * 60
    with shown.line:
        shown.line.print(long)
        shown.line.print(long)
    assert shown.text == f"{long}\n{long}\n"


def test_on_a_terminal_the_line_is_drawn_over() -> None:
    """The newest text stands there when it ends, cut where the terminal ends; what is said stands above it."""
    shown = Shown(terminal=True)
    with shown.line:
        shown.line.show("first")
        shown.line.print("ridecast: stays")
        shown.line.show("y" * 60)
    assert "ridecast: stays\n" in shown.text.replace("\r", "")
    assert "y" * 39 + "…" in shown.text
    assert "y" * 40 not in shown.text


def test_answers_are_wide_enough_for_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that goes into a file or a pipe is not cut at 80 columns, and a wider one is allowed."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert output_console().width == WIDE
    monkeypatch.setenv("COLUMNS", "300")
    assert output_console().width == 300


def test_bars_are_left_out_off_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Where standard error is a file, a bar writes nothing, and nothing ever goes to standard output."""
    with progress_bars() as progress:
        task = progress.add_task("counting", total=2)
        progress.update(task, completed=2)
    assert ("", "") == capfd.readouterr()


def test_off_a_terminal_a_long_step_says_how_far_it_is() -> None:
    """Lines come while a step lasts: its name, share or number, and seconds; none of a step that is done, and none afterwards."""
    out = io.StringIO()
    with PlainSteps(Console(file=out, width=40), every_s=0.02) as progress:
        counted = progress.add_task("counting nyc", total=200.0, completed=50)
        unbounded = progress.add_task("reading [all]", total=None, completed=1_234)
        started = progress.add_task("starting", total=None)
        finished = progress.add_task("finished", total=1.0)
        progress.update(finished, completed=1.0)
        give_up_at = time.monotonic() + 20
        while out.getvalue().count("\n") < 4 and time.monotonic() < give_up_at:
            time.sleep(0.01)
    lines = out.getvalue().splitlines()
    assert ["counting nyc: 25 %, 0 s", "reading [all]: 1,234 done, 0 s", "starting: 0 s"] == lines[:3]
    time.sleep(0.1)
    assert lines == out.getvalue().splitlines()
    assert STEP_EVERY_S == 10.0
    assert 3 == len({counted, unbounded, started})


def test_on_a_terminal_a_step_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal bars are drawn, with the elapsed time; elsewhere they are plain lines."""
    monkeypatch.setattr(Console, "is_terminal", True)
    bars = progress_bars()
    assert not isinstance(bars, PlainSteps)
    assert any(isinstance(column, TimeElapsedColumn) for column in bars.columns)
    monkeypatch.setattr(Console, "is_terminal", False)
    assert isinstance(progress_bars(), PlainSteps)
