"""One attempt of a job: a child process in its own group, with a time limit, and the end of its output."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from schemas.secrets import clean

TAIL_BYTES = 4_000  # of the output that a record keeps
STOP_WITHIN_S = 5.0  # after SIGTERM; then the whole group is killed
RUN_VARIABLE = "JOB_RUN"
TOKEN_VARIABLE = "JOB_TOKEN"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        error: One line, empty after success.
        tail: The end of its output.
    """

    error: str
    tail: str
    duration_ms: int


class Attempt:
    """A child process that does the work of one attempt. Its standard input closes when this process ends for any reason.

    Args:
        command: Program and arguments.
        environment: Of the child; the run and its fencing token are added.
        run, token: Whose attempt it is.
        timeout_s: Then it is stopped, with all processes of its group.
        monotonic: Seconds.
    Raises:
        OSError: the system does not start it.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        run: bytes,
        token: int,
        timeout_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.run, self.token, self._timeout_s, self._monotonic = run, token, timeout_s, monotonic
        self._begun_s = monotonic()
        self._tail = bytearray()
        self._stopped = ""  # why it was told to stop
        self._kill_at_s = 0.0
        self._ended: Outcome | None = None
        reading, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                command,
                env={**environment, RUN_VARIABLE: run.hex(), TOKEN_VARIABLE: str(token)},
                stdin=reading,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(reading)
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), name="output of a job", daemon=True)
        self._reader.start()

    def poll(self) -> Outcome | None:
        """How it ended, or None while it runs. Call it often: it keeps the time limit."""
        if self._ended is not None:
            return self._ended
        now_s = self._monotonic()
        status = self._process.poll()
        if status is None:
            if not self._stopped and now_s - self._begun_s >= self._timeout_s:
                self.stop(f"it was stopped after its time limit of {self._timeout_s:g} s")
            if self._stopped and now_s >= self._kill_at_s:
                self._signal(signal.SIGKILL)
            return None
        self._ended = self._outcome(status, now_s)
        return self._ended

    def stop(self, why: str) -> None:
        """Ask the whole group to stop; it is killed if it does not within STOP_WITHIN_S."""
        if not self._stopped and self._ended is None:
            self._stopped, self._kill_at_s = why, self._monotonic() + STOP_WITHIN_S
            self._signal(signal.SIGTERM)

    def finish(self) -> Outcome:
        """Wait for its end after `stop`; the group is killed if it does not end in time."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_WITHIN_S)
        self._signal(signal.SIGKILL)
        self._process.wait()
        outcome = self.poll()
        assert outcome is not None  # it has been waited for
        return outcome

    def _outcome(self, status: int, now_s: float) -> Outcome:
        self._signal(signal.SIGKILL)  # what it started and left behind
        self._reader.join(1.0)
        os.close(self._lifeline)
        tail = clean(bytes(self._tail).decode("utf-8", "replace")).strip()
        return Outcome(self._error(status, tail), tail, round(1000 * (now_s - self._begun_s)))

    def _error(self, status: int, tail: str) -> str:
        if self._stopped:
            return self._stopped
        if status == 0:
            return ""
        how = f"exit code {status}" if status > 0 else f"ended by signal {signal.Signals(-status).name}"
        last = tail.splitlines()[-1][-300:] if tail else ""
        return f"{how}: {last}" if last else how

    def _signal(self, number: signal.Signals) -> None:
        # The group outlives its first process while others are in it; when it is gone there is nothing to stop.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _read(self, output: IO[bytes]) -> None:
        with output:
            while part := os.read(output.fileno(), 65_536):
                self._tail += part
                del self._tail[:-TAIL_BYTES]
