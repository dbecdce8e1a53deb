"""One format for everything that processes report: progress, logs and errors, as text or JSON, one line each.

    2026-05-04T10:15:30.123Z WARNING run: forecaster was killed by SIGKILL; restarting in 0.5 s, try 2 pid=4711

Wall-clock time in UTC, level, process, message, then fields as key=value. `RIDECAST_LOG_FORMAT=json` gives one object
per line with the same contents.
"""

import logging
import os
import re
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

Form = Literal["text", "json"]
Field = str | int | float

TEXT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (DEBUG|INFO|WARNING|ERROR|CRITICAL) ([a-z][\w-]*): (.*)", re.DOTALL)
TIME = re.compile(r'^(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z |\{"time": "[^"]*", )')
POOL = "sqlalchemy.pool"  # reports each lost connection that it cannot close as an error; the call that lost it says so in our words
COMMAND_ERROR = "ridecast: "  # how a command that is not part of a run reports an error
PLAIN = re.compile(r"[\w./:@+-]+")  # a field's value that needs no quotes


@dataclass(frozen=True, slots=True)
class Line:
    """One report.

    Attributes:
        at_s: Seconds since 1970.
        level: Its severity in capitals, such as WARNING.
        process: Role of the process that reports.
        message: For people; on one line.
        fields: For programs.
    """

    at_s: float
    level: str
    process: str
    message: str
    fields: Mapping[str, Field] = field(default_factory=dict)

    def to_text(self, form: Form) -> str:
        """The line in one of the two forms, without a line break.

        >>> line = Line(0.0, "INFO", "api", "listening", {"port": 8000, "at": "any address"})
        >>> line.to_text("text")
        "1970-01-01T00:00:00.000Z INFO api: listening port=8000 at='any address'"
        >>> line.to_text("json")
        '{"time": "1970-01-01T00:00:00.000Z", "level": "info", "process": "api", "message": "listening", "port": 8000, "at": "any address"}'
        """
        stamp = datetime.fromtimestamp(self.at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = " ".join(self.message.split("\n"))
        if form == "json":
            told = {"time": stamp, "level": self.level.lower(), "process": self.process, "message": message}
            import json

            return json.dumps({**self.fields, **told} if told.keys() & self.fields.keys() else {**told, **self.fields}, ensure_ascii=False)
        fields = "".join(f" {name}={_shown(value)}" for name, value in self.fields.items())
        return f"{stamp} {self.level} {self.process}: {message}{fields}"


def _shown(value: Field) -> str:
    text = str(value)
    return text if PLAIN.fullmatch(text) else repr(text)


class LineFormatter(logging.Formatter):
    """Formats records of the logging module as lines.

    A record's fields are passed as `extra={"fields": {...}}`. An exception becomes fields; its traceback is added in JSON,
    and in text only with `tracebacks`.
    """

    def __init__(self, process: str, form: Form, *, tracebacks: bool = False) -> None:
        super().__init__()
        self.process, self.form, self.tracebacks = process, form, tracebacks

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Field] = dict(getattr(record, "fields", {}))
        trace = ""
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            trace = "".join(traceback.format_exception(error)).rstrip()
            fields["error"] = f"{type(error).__name__}: {error}"
            if frames := traceback.extract_tb(error.__traceback__):
                fields["at"] = f"{frames[-1].filename}:{frames[-1].lineno}"
        if self.form == "json":
            fields |= {"logger": record.name} | ({"traceback": trace} if trace else {})
        text = Line(record.created, record.levelname, self.process, record.getMessage(), fields).to_text(self.form)
        return f"{text}\n{trace}" if trace and self.tracebacks and self.form == "text" else text


def begin_logs(process: str, level: str = "warning", form: Form = "text") -> None:
    """Log in the one format from now on; whoever has configured the logging module otherwise, such as a test, keeps that."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
    for handler in root.handlers:
        if type(handler) is logging.StreamHandler:
            handler.setFormatter(LineFormatter(process, form, tracebacks=bool(os.environ.get("RIDECAST_TRACEBACK"))))
            root.setLevel(level.upper())
    if level.upper() != "DEBUG":
        logging.getLogger(POOL).setLevel(logging.CRITICAL)


class Reporter:
    """Reports lines of one process.

    Args:
        process: Its role.
        form: Text or JSON.
        show: Displays one line.
        clock: Seconds since 1970.
    """

    def __init__(self, process: str, form: Form, show: Callable[[str], None], clock: Callable[[], float] = time.time) -> None:
        self.process, self.form, self._show, self._clock = process, form, show, clock

    def text(self, message: str, level: str = "INFO", **fields: Field) -> str:
        """A line as it would be displayed now."""
        return Line(self._clock(), level, self.process, message, fields).to_text(self.form)

    def wrap(self, process: str, message: str) -> str:
        """A line that another process wrote in a format of its own, such as a warning of the interpreter."""
        error = error_in(message)
        return Line(self._clock(), "ERROR" if error else "WARNING", process or self.process, error or message).to_text(self.form)

    def info(self, message: str, **fields: Field) -> None:
        """Report what happens."""
        self._show(self.text(message, "INFO", **fields))

    def warning(self, message: str, **fields: Field) -> None:
        """Report what should not happen, and does not stop anything."""
        self._show(self.text(message, "WARNING", **fields))

    def error(self, message: str, **fields: Field) -> None:
        """Report what stops something."""
        self._show(self.text(message, "ERROR", **fields))


def is_line(text: str) -> bool:
    """Whether a text is in the one format."""
    return bool(TIME.match(text))


def without_time(text: str) -> str:
    """A line without its time, by which two reports of the same are equal.

    >>> without_time("2026-05-04T10:15:30.123Z INFO api: listening"), without_time("as it came")
    ('INFO api: listening', 'as it came')
    """
    return TIME.sub("", text)


def error_in(text: str) -> str:
    """The message of a line that reports an error, in any form; empty for other lines.

    >>> error_in("2026-05-04T10:15:30.123Z ERROR forecast: disk full"), error_in("ridecast: disk full"), error_in("all well")
    ('disk full', 'disk full', '')
    >>> error_in('{"time": "t", "level": "error", "process": "forecast", "message": "disk full"}')
    'disk full'
    """
    if text.startswith(COMMAND_ERROR):
        return text.removeprefix(COMMAND_ERROR)
    if match := TEXT.fullmatch(text):
        return match[4] if match[2] in ("ERROR", "CRITICAL") else ""
    if text.startswith('{"time"'):
        import json

        try:
            found = json.loads(text)
        except ValueError:
            return ""
        return str(found.get("message", "")) if found.get("level") in ("error", "critical") else ""
    return ""
