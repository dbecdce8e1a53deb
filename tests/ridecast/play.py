"""Actors that stand in for the children of a supervisor, and what they did."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledger.store.waiting import Patience
from ridecast.logs import Reporter
from ridecast.relay import Relay
from ridecast.supervise import Supervisor

# Stands in for `python -m ridecast worker`: notes that it was started, then does what the play says for its role and start.
ACTOR = """#!{python} -S
import json, os, signal, sys, time
folder = {folder!r}
words = sys.argv[5:]
role, number = words[0], words[words.index("--process") + 1] if "--process" in words else ""
name = role + number
starts = len([line for line in open(folder + "/starts") if line.split()[0] == name])
acts = json.load(open(folder + "/play.json")).get(name, ["stay"])
act = acts[min(starts, len(acts) - 1)]
def leave(*_):
    with open(folder + "/stops", "a") as log:
        log.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if act == "deaf" else leave)
with open(folder + "/starts", "a") as log:
    log.write(" ".join([name, str(os.getpid()), *sys.argv[1:]]) + "\\n")
def beat():
    os.write(int(os.environ["RIDECAST_HEARTBEAT"]), b".")
beat()
if act == "stopped":
    os.kill(os.getpid(), signal.SIGSTOP)
if act == "stay" or act == "deaf":
    for _ in range(300):
        beat()
        time.sleep(0.2)
if act == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if act:
    print(f"ridecast: {{name}} ends with {{act}}", flush=True)
sys.exit(act)
"""


class StillRunning(BaseException):
    """The run has not ended; not an Exception, because the supervisor would go on."""


@dataclass
class Play:
    """Actors instead of workers, and what they did.

    Attributes:
        said: What was passed on.
        told: What the supervisor itself reported, without time and process.
        patience: How it waits between two tries.
        tick: Called several times a second while it runs.
        supervisor: The one that runs.
    """

    folder: Path
    said: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    patience: Patience = field(default_factory=lambda: Patience(first_s=0.01, longest_s=0.05))
    tick: Callable[[], None] = lambda: None
    supervisor: Supervisor | None = None

    def run(
        self,
        *,
        processes: int = 1,
        bounded: bool = False,
        companions: tuple[str, ...] = (),
        hang_after_s: float = 60.0,
        wait_limit_s: float = 600.0,
        **acts: Sequence[object],
    ) -> None:
        """Run the supervisor; `acts` gives, per actor, an exit status or a word for each of its starts, the last for all that follow."""
        (self.folder / "play.json").write_text(json.dumps(acts), "utf-8")
        begun = time.monotonic()

        def tick() -> None:
            if time.monotonic() - begun > 30:
                raise StillRunning(f"still running: {self.starts()}")
            self.tick()

        reporter = Reporter("run", "text", lambda line: self.told.append(line.split(" run: ", 1)[1]))
        self.supervisor = Supervisor(
            {},
            ["nyc"],
            processes,
            bounded,
            companions,
            Relay(self.said.append),
            reporter,
            hang_after_s=hang_after_s,
            wait_limit_s=wait_limit_s,
            patience=self.patience,
        )
        self.supervisor.run(tick)

    def starts(self) -> list[str]:
        """Names of the actors, in the order of their starts."""
        return [line.split()[0] for line in self._lines()]

    def arguments(self, name: str) -> str:
        """What an actor was last started with."""
        return " ".join([line for line in self._lines() if line.split()[0] == name][-1].split()[2:])

    def stops(self) -> list[str]:
        """Names of the actors that were asked to stop and did."""
        path = self.folder / "stops"
        return sorted(path.read_text("utf-8").split()) if path.exists() else []

    def alive(self) -> list[str]:
        """Actors that still run."""
        return [line.split()[0] for line in self._lines() if Path(f"/proc/{line.split()[1]}").exists()]

    def _lines(self) -> list[str]:
        return (self.folder / "starts").read_text("utf-8").splitlines()
