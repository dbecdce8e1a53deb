"""One format for progress, logs and errors: as text and as JSON, written by any process and read back by the supervisor."""

import io
import json
import logging

import pytest
from hypothesis import given, strategies as st

from ridecast.logs import POOL, Line, LineFormatter, Reporter, begin_logs, error_in, is_line, without_time

WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1)


@given(WORDS, st.floats(0, 2e9), st.sampled_from(["text", "json"]), st.sampled_from(["INFO", "WARNING", "ERROR"]))
def test_what_is_written_is_read_back(message: str, at_s: float, form: str, level: str) -> None:
    """Every line is recognised, its error is found, and its time makes no difference."""
    assert form in ("text", "json")
    line = Line(at_s, level, "forecast", message)
    text = line.to_text(form)  # type: ignore[arg-type]
    assert is_line(text)
    assert len(text.split("\n")) == 1
    assert error_in(text) == (message if level == "ERROR" else "")
    later = Line(at_s + 60.0, level, "forecast", message).to_text(form)  # type: ignore[arg-type]
    assert without_time(text) == without_time(later)


@pytest.fixture
def logger() -> tuple[logging.Logger, io.StringIO, logging.Handler]:
    """A logger of its own, and what it has written."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    found = logging.Logger("ridecast.test")
    found.addHandler(handler)
    return found, out, handler


def test_an_exception_is_part_of_the_line(logger: tuple[logging.Logger, io.StringIO, logging.Handler]) -> None:
    """In text an error is named with its place on the same line; JSON has the traceback too, and the logger's name."""
    log, out, handler = logger
    handler.setFormatter(LineFormatter("api", "text"))
    try:
        raise KeyError("slot")
    except KeyError as cause:
        log.error("GET %s failed", "/v1", exc_info=cause, extra={"fields": {"status": 500}})
        handler.setFormatter(LineFormatter("api", "json"))
        log.error("GET %s failed", "/v1", exc_info=cause, extra={"fields": {"status": 500}})
    text, line = out.getvalue().splitlines()
    assert " ERROR api: GET /v1 failed status=500 error=\"KeyError: 'slot'\" at=" in text
    told = json.loads(line)
    assert ("error", "api", "GET /v1 failed", 500, "ridecast.test") == tuple(
        told[name] for name in ("level", "process", "message", "status", "logger")
    )
    assert told["traceback"].startswith("Traceback (most recent call last):")


def test_a_field_cannot_pretend_to_be_the_message() -> None:
    """Time, level, process and message of a line are its own, whatever its fields are called."""
    told = json.loads(Line(0.0, "INFO", "api", "true", {"message": "false", "level": "none"}).to_text("json"))
    assert ("true", "info") == (told["message"], told["level"])


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_of_other_programs_get_the_format(form: str) -> None:
    """A warning of the interpreter or an error of a command becomes a line of the process that printed it."""
    assert form in ("text", "json")
    reporter = Reporter("run", form, lambda _: None, lambda: 0.0)  # type: ignore[arg-type]
    assert is_line(reporter.wrap("forecast", "UserWarning: x"))
    assert error_in(reporter.wrap("forecast", "ridecast: disk full")) == "disk full"
    assert error_in(reporter.wrap("forecast", "UserWarning: x")) == ""


def test_what_is_not_json_is_no_error() -> None:
    """A line that only begins like one of ours is left alone."""
    assert error_in('{"time": "cut off') == ""


def test_a_lost_connection_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pool says of a connection that it cannot close is left out, unless everything is asked for."""
    pool = logging.getLogger(POOL)
    monkeypatch.setattr(pool, "level", logging.NOTSET)
    monkeypatch.setattr(logging, "root", logging.Logger("root"))
    begin_logs("api", "debug")
    assert logging.NOTSET == pool.level
    begin_logs("api", "info")
    assert not logging.getLogger(f"{POOL}.impl.QueuePool").isEnabledFor(logging.ERROR)
    pool.setLevel(logging.NOTSET)  # forgets what was asked for
