"""How tests call `ridecast`: as a program of its own, with what it printed and how it ended."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ridecast.logs import TEXT

ROOT = Path(__file__).resolve().parents[2]

# Becomes the program that follows, in which no file may grow beyond a size.
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What a call left behind.

    Attributes:
        lines: The errors and warnings that a person is told on standard error, first those of a command, then those of a run.
    """

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        found = [TEXT.fullmatch(line) for line in self.err.splitlines() if not line.startswith("ridecast: ")]
        return [line for line in self.err.splitlines() if line.startswith("ridecast: ")] + [
            f"ridecast: {line[4]}" for line in found if line is not None and line[2] != "INFO"
        ]


def environment(**more: str) -> dict[str, str]:
    """This process's environment, without settings that somebody has set, and with some of a test's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RIDECAST_", "COV_CORE"))}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **more}


def ridecast(*words: object, cwd: Path, env: Mapping[str, str] | None = None, largest_file_bytes: int = 0, within_s: float = 240.0) -> Done:
    """Run `ridecast` with these words in a process of its own.

    Args:
        words: Command and options.
        cwd: Where relative paths begin.
        env: Settings, on top of a clean environment.
        largest_file_bytes: No file may grow beyond it, as on a disk that fills up; 0: no limit.
        within_s: It must have ended by then.
    """
    limits = [sys.executable, "-c", LIMITED, str(largest_file_bytes)] if largest_file_bytes else []
    command = [*limits, sys.executable, "-m", "ridecast", *map(str, words)]
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(**(env or {})),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=within_s,
    )
    return Done(done.returncode, done.stdout, done.stderr)
