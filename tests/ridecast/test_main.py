"""Errors as a person sees them: which words, which exit code, for everything that can come out of a command."""

import subprocess
import sys

import click
import pytest

from ridecast.main import COMMANDS, HIDDEN, cause_chain, cli, report_error
from schemas.errors import ConfigError, ContractError, RidecastError, StoreUnavailable, UsageError
from tests.ridecast.calls import environment
from tests.ridecast.conftest import Call
from tests.tree import project


def wrapped(inner: BaseException, *, explicit: bool) -> BaseException:
    """An error of somebody else's code that came from one of ours."""
    try:
        try:
            raise inner
        except BaseException as cause:
            if explicit:
                raise RuntimeError("outer") from cause
            raise RuntimeError("outer")  # noqa: B904
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "ridecast: stopped by Ctrl-C before the end\n"),
        (click.exceptions.Abort(), 130, "ridecast: stopped by Ctrl-C before the end\n"),
        (click.UsageError("expected this, got that"), 2, "Error: expected this, got that\n"),
        (click.FileError("x", "no such file"), 1, "Error: Could not open file 'x': no such file\n"),
        (RidecastError("one"), 1, "ridecast: one\n"),
        (UsageError("two"), 2, "ridecast: two\n"),
        (ConfigError("three"), 2, "ridecast: three\n"),
        (wrapped(StoreUnavailable("disk"), explicit=True), 1, "ridecast: disk\n"),
        (wrapped(UsageError("words"), explicit=False), 2, "ridecast: words\n"),
        (wrapped(wrapped(UsageError("deep"), explicit=False), explicit=True), 2, "ridecast: deep\n"),
        (OSError(28, "No space left on device", "a.avro"), 1, "ridecast: a.avro: No space left on device\n"),
        (UsageError("got 'a\nb\x1b[31m'"), 2, "ridecast: got 'a\\nb\\x1b[31m'\n"),
        (OSError(28, "No space left on device"), 1, "ridecast: system: No space left on device\n"),
        (
            ValueError("a\n b"),
            1,
            "ridecast: unexpected ValueError: a b. This is a bug in Ridecast; set RIDECAST_TRACEBACK=1 for a traceback\n",
        ),
        (
            OSError("no number"),
            1,
            "ridecast: unexpected OSError: no number. This is a bug in Ridecast; set RIDECAST_TRACEBACK=1 for a traceback\n",
        ),
    ],
)
def test_an_error_is_one_line_and_a_code(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, said: str
) -> None:
    """Errors of ours count wherever they stand in a chain; the system's come with their file; the rest is called a fault of ours."""
    monkeypatch.delenv("RIDECAST_TRACEBACK", raising=False)
    assert (status, "", said) == (report_error(error), *capfd.readouterr())


def test_a_long_text_is_cut(capfd: pytest.CaptureFixture[str]) -> None:
    """An unexpected error that carries a page of text stays one line."""
    report_error(ValueError("x\n" * 5_000))
    line = capfd.readouterr().err
    assert (1, True) == (line.count("\n"), len(line) < 450)


def test_whoever_asks_sees_where_it_came_from(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With RIDECAST_TRACEBACK the stack comes before the same line; wrong words on the command line have none."""
    monkeypatch.setenv("RIDECAST_TRACEBACK", "1")
    assert report_error(wrapped(ContractError("promise"), explicit=True)) == 1
    lines = capfd.readouterr().err.splitlines()
    assert ("Traceback (most recent call last):", "ridecast: promise") == (lines[0], lines[-1])
    report_error(click.UsageError("words"))
    assert capfd.readouterr().err == "Error: words\n"


def test_a_chain_that_bites_its_tail_ends() -> None:
    """Errors that name each other as their cause are each seen once."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert [one, two] == list(cause_chain(one))


def test_every_command_has_a_help_and_its_line(call: Call) -> None:
    """The overview names every command that is for people, and each answers --help with its own usage."""
    overview = call("--help")
    assert overview.status == 0
    for name, (_, line) in COMMANDS.items():
        assert (name not in HIDDEN) == (f"  {name} " in overview.out)
        assert line in " ".join(overview.out.split())
        done = call(name, "--help")
        assert (0, f"Usage: ridecast {name} ") == (done.status, done.out[: len(f"Usage: ridecast {name} ")])


def test_the_version_is_said(call: Call) -> None:
    """`--version` prints name and version, and the version is that of pyproject.toml."""
    assert call("--version").out.split() == ["ridecast,", "version", project()["version"]]


def test_a_command_names_the_exit_code(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command hands to ctx.exit is how the program ends."""

    @click.command()
    @click.pass_context
    def seven(ctx: click.Context) -> None:
        ctx.exit(7)

    monkeypatch.setattr(cli, "get_command", lambda ctx, name: seven)
    assert call("anything").status == 7


def test_a_reader_that_has_seen_enough_ends_the_program_quietly() -> None:
    """Behind a closed pipe nothing is said: no error, and nothing from the interpreter's own end."""
    command = [sys.executable, "-m", "ridecast", "settings", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert (b"", 1) == (process.stderr.read(), process.wait(60))


def test_a_closed_standard_output_is_no_fault() -> None:
    """A program that started us without a standard output gets the exit code alone."""
    command = ["/bin/sh", "-c", 'exec "$0" -m ridecast settings >&-', sys.executable]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("words", [(), ("settings",), ("status",), ("run",)], ids=lambda words: " ".join(words) or "ridecast")
def test_help_is_fast(words: tuple[str, ...]) -> None:
    """The help of these commands imports none of the large libraries that only their work needs."""
    code = (
        "import sys; from ridecast.main import cli\n"
        "try: cli.main(sys.argv[1:], prog_name='ridecast')\n"
        "finally: print(sorted({'numpy', 'pandas', 'pyarrow', 'sqlalchemy', 'confluent_kafka', 'xgboost', 'bytewax'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--help"], env=environment(), capture_output=True, text=True, check=True, timeout=60
    )
    assert "Usage: ridecast" in done.stdout
    assert "[]" == done.stdout.splitlines()[-1]
