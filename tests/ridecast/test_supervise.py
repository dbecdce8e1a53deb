"""The supervisor: whom it starts again, when it gives up, and that nobody outlives it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ridecast import supervise
from ridecast.relay import Relay
from ridecast.supervise import (
    MOST_RESTARTS,
    PERMANENT_STATUS,
    RESTART_STATUS,
    Child,
    PermanentError,
    Supervisor,
    free_addresses,
    mark_permanent_errors,
    permanent,
)
from schemas.errors import BootRefused, DamagedError, NotFound, RidecastError, StoreUnavailable, UsageError
from tests.ridecast.calls import environment

# Stands in for `python -m ridecast worker`: notes that it was started, then does what the play says for its role and start.
ACTOR = """#!{python} -S
import json, os, signal, sys, time
folder = {folder!r}
words = sys.argv[5:]
role, number = words[0], words[words.index("--process") + 1] if "--process" in words else ""
name = role + number
starts = len([line for line in open(folder + "/starts") if line.split()[0] == name])
with open(folder + "/starts", "a") as log:
    log.write(" ".join([name, str(os.getpid()), *sys.argv[1:]]) + "\\n")
acts = json.load(open(folder + "/play.json")).get(name, ["stay"])
act = acts[min(starts, len(acts) - 1)]
def leave(*_):
    with open(folder + "/stops", "a") as log:
        log.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if act == "deaf" else leave)
if act == "stay" or act == "deaf":
    time.sleep(60)
if act == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if act:
    print(f"ridecast: {{name}} ends with {{act}}", flush=True)
sys.exit(act)
"""


@dataclass
class Play:
    """Actors instead of workers, and what they did.

    Attributes:
        said: What was passed on.
        tick: Called several times a second while it runs.
    """

    folder: Path
    said: list[str] = field(default_factory=list)
    tick: Callable[[], None] = lambda: None

    def run(self, *, processes: int = 1, bounded: bool = False, companions: tuple[str, ...] = (), **acts: Sequence[object]) -> None:
        """Run the supervisor; `acts` gives, per actor, an exit status or a word for each of its starts, the last for all that follow."""
        (self.folder / "play.json").write_text(json.dumps(acts), "utf-8")
        begun = time.monotonic()

        def tick() -> None:
            assert time.monotonic() - begun < 30, f"still running: {self.starts()}"
            self.tick()

        Supervisor({}, ["nyc"], processes, bounded, companions, Relay(self.said.append)).run(tick)

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


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """A play in a hurry, after which signals mean what they meant before."""
    path = tmp_path / "actor"
    path.write_text(ACTOR.format(python=sys.executable, folder=str(tmp_path)), "utf-8")
    path.chmod(0o755)
    (tmp_path / "starts").touch()
    monkeypatch.setattr("ridecast.supervise.sys.executable", str(path))
    monkeypatch.setattr(supervise, "RESTART_AFTER_S", 0.01)
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    found = Play(tmp_path)
    yield found
    for number, handler in before:
        signal.signal(number, handler)
    assert found.alive() == []


def test_a_bounded_run_ends_when_its_forecasters_do(play: Play) -> None:
    """Both processes end well, then what is recorded is published, and that is all."""
    play.run(processes=2, bounded=True, forecast0=[0], forecast1=[0], publish=[0])
    assert (["forecast0", "forecast1"], "publish") == (sorted(play.starts()[:2]), play.starts()[2])
    assert play.arguments("publish").endswith("publish --regions nyc --drain")
    assert "--until-end" in play.arguments("forecast0")
    assert play.said == []


def test_one_death_starts_all_forecasters_again(play: Play) -> None:
    """When one process of a cluster dies the others are stopped, and all start anew at other addresses; companions stay."""
    addresses: set[str] = set()
    play.tick = lambda: addresses.update(play.arguments("forecast0").split("--addresses ")[1:] if "forecast0" in play.starts() else ())
    play.run(processes=2, bounded=True, companions=("api",), forecast0=["stay", 0], forecast1=[1, 0], publish=[0])
    starts = play.starts()
    assert (2, 2, 1, 1) == tuple(starts.count(name) for name in ("forecast0", "forecast1", "api", "publish"))
    assert ["api", "forecast0"] == play.stops()
    assert ["ridecast: forecast1 ends with 1"] == play.said
    assert len(addresses) == 2


def test_it_gives_up_after_so_many_deaths_in_a_row(play: Play) -> None:
    """A fault that does not pass is said once and ends the run with 1, and its companions with it."""
    with pytest.raises(RidecastError, match=f"^forecaster ended with the error above, {MOST_RESTARTS + 1} times in a row$") as caught:
        play.run(companions=("publish", "api"), forecast=[1])
    assert (1, MOST_RESTARTS + 1) == (caught.value.exit_code, play.starts().count("forecast"))
    assert (["api", "publish"], ["ridecast: forecast ends with 1"]) == (play.stops(), play.said)


def test_deaths_far_apart_are_each_the_first(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forecaster that ran steadily before it died is started again as often as need be."""
    monkeypatch.setattr(supervise, "STEADY_AFTER_S", -1.0)
    play.run(bounded=True, forecast=[1] * (MOST_RESTARTS + 2) + [0], publish=[0])
    assert play.starts().count("forecast") == MOST_RESTARTS + 3


def test_a_source_that_changed_is_no_failure(play: Play) -> None:
    """Forecasters that must start again because their source has changed are started as often as need be."""
    play.run(bounded=True, forecast=[RESTART_STATUS] * (MOST_RESTARTS + 2) + [0], publish=[0])
    assert play.starts().count("forecast") == MOST_RESTARTS + 3


@pytest.mark.parametrize(("status", "code"), [(2, 2), (PERMANENT_STATUS, 1)])
@pytest.mark.parametrize(("role", "called"), [("forecast", "forecaster"), ("api", "api")])
def test_a_lasting_error_ends_the_run_at_once(play: Play, role: str, called: str, status: int, code: int) -> None:
    """What starting again does not heal is not tried again, in a forecaster or a companion; wrong usage stays wrong usage."""
    acts: dict[str, Any] = {role: [status]}
    with pytest.raises(RidecastError, match=f"^{called} ended with the error above$") as caught:
        play.run(companions=("api",), **acts)
    assert caught.value.exit_code == code
    assert 1 == play.starts().count(role)
    assert play.said == [f"ridecast: {role} ends with {status}"]


def test_the_process_that_says_why_comes_before_the_others(play: Play) -> None:
    """Of two that die together the one with a lasting error decides."""

    def both_have_ended() -> None:
        until(lambda: len(play.said) == 1)
        time.sleep(0.2)

    play.tick = both_have_ended
    with pytest.raises(RidecastError, match=r"^forecaster ended with the error above$"):
        play.run(processes=2, forecast0=["killed"], forecast1=[PERMANENT_STATUS])


def test_a_killed_forecaster_is_named_by_its_signal(play: Play) -> None:
    """A process that said nothing, for it was killed, is reported with the signal's number."""
    with pytest.raises(RidecastError, match=r"^forecaster was killed by signal 9, 6 times in a row$"):
        play.run(forecast=["killed"])


def test_a_live_forecaster_that_ends_by_itself_is_started_again(play: Play) -> None:
    """Only rides that have an end may end a forecaster: somebody's SIGTERM to the child alone does not stop a live run."""
    play.tick = lambda: os.kill(os.getpid(), signal.SIGTERM) if play.starts().count("forecast") == 3 else None
    play.run(forecast=[0, 0, "stay"])
    assert play.starts() == ["forecast"] * 3
    with pytest.raises(RidecastError, match=r"^forecaster ended unexpectedly, 6 times in a row$"):
        play.run(forecast=[0])


def test_a_companion_is_started_again_alone(play: Play) -> None:
    """A publisher that dies is started again for as long as it takes; the forecaster does not notice."""
    play.tick = lambda: os.kill(os.getpid(), signal.SIGTERM) if play.starts().count("publish") == 8 else None
    play.run(companions=("publish",), publish=[1] * 7 + ["stay"])
    assert (1, 8) == (play.starts().count("forecast"), play.starts().count("publish"))
    assert ["ridecast: publish ends with 1"] == play.said


def test_a_failed_publication_is_a_failure_of_the_run(play: Play) -> None:
    """A bounded run whose forecasts are recorded and not published ends with 1."""
    with pytest.raises(RidecastError, match=r"^publisher ended with the error above$"):
        play.run(bounded=True, forecast=[0], publish=[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_live_run_cleanly(play: Play, number: signal.Signals) -> None:
    """A live run has no end but this one: it ends without an error."""
    play.tick = lambda: os.kill(os.getpid(), number) if len(play.starts()) == 2 else None
    play.run(companions=("api",))
    assert (["api", "forecast"], []) == (play.stops(), play.said)


@pytest.mark.parametrize(("number", "status", "how"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")])
def test_a_signal_stops_all_before_the_end(play: Play, number: signal.Signals, status: int, how: str) -> None:
    """SIGTERM or Ctrl-C lets every child end by itself; a bounded run that is stopped publishes no more, and is not taken for done."""
    everybody = ["api", "forecast0", "forecast1", "publish"]
    play.tick = lambda: os.kill(os.getpid(), number) if len(play.starts()) == 4 else None
    with pytest.raises(RidecastError, match=f"^stopped by {how} before the end of the rides; run the same command to resume$") as caught:
        play.run(processes=2, bounded=True, companions=("publish", "api"))
    assert status == caught.value.exit_code
    assert (everybody, everybody) == (sorted(play.starts()), play.stops())
    assert play.said == []


def test_whoever_does_not_stop_is_killed(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that ignores SIGTERM has as long as a person would wait."""
    monkeypatch.setattr(supervise, "STOP_WITHIN_S", 0.3)
    play.tick = lambda: os.kill(os.getpid(), signal.SIGTERM) if len(play.starts()) == 2 else None
    play.run(companions=("api",), forecast=["deaf"])
    assert play.stops() == ["api"]


def test_children_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    """When the supervisor is killed outright, which it cannot notice, a tied child stops by itself."""
    program = """
import subprocess, sys, time
from ridecast.supervise import lifeline
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=lifeline()[0], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""
    tied = """
import signal, sys, time
from ridecast.supervise import end_with_parent
def leave(*_):
    open("left", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
end_with_parent()
open("ready", "w").close()
time.sleep(60)
"""
    command = [sys.executable, "-c", program, tied]
    supervisor = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    with supervisor.stdout:
        supervisor.stdout.readline()
    until((tmp_path / "ready").exists)
    supervisor.kill()
    assert supervisor.wait(10) == -signal.SIGKILL
    until((tmp_path / "left").exists)


@pytest.mark.parametrize("error", [NotFound("a"), DamagedError("b"), BootRefused("c")])
def test_lasting_errors_keep_their_words(error: RidecastError) -> None:
    """What will be there again after a restart leaves a child with its words and a status of its own."""
    with pytest.raises(PermanentError, match=f"^{error}$") as caught, mark_permanent_errors():
        raise error
    assert caught.value.exit_code == PERMANENT_STATUS == 3


@pytest.mark.parametrize("error", [StoreUnavailable("disk"), UsageError("words"), ValueError("bug")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    """A passing fault, wrong usage and a fault of ours keep their own status."""
    assert error is permanent(error)
    with pytest.raises(type(error)), mark_permanent_errors():
        raise error


def test_addresses_are_free_and_distinct() -> None:
    """Each process of a cluster gets a loopback address of its own."""
    addresses = free_addresses(5)
    assert 5 == len(set(addresses))
    assert {"127.0.0.1"} == {address.split(":")[0] for address in addresses}


def test_a_child_that_was_not_started_has_no_status() -> None:
    """Before its start a child neither runs nor has ended."""
    child = Child("api", [])
    child.finish_output()
    assert child.poll() is None


def until(true: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait for something to become true."""
    give_up_at = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.02)
