"""The supervisor: which processes it starts again, when it gives up, and that no child outlives it."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.store.waiting import Patience
from ridecast import children
from ridecast.endings import HALTED_STATUS, PEER_STATUS, PERMANENT_STATUS, RESTART_STATUS, TRANSIENT_STATUS
from ridecast.team import MOST_BUGS
from schemas.errors import RidecastError
from tests.ridecast.play import ACTOR, Play


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """A play in a hurry, after which signals mean what they meant before."""
    path = tmp_path / "actor"
    path.write_text(ACTOR.format(python=sys.executable, folder=str(tmp_path)), "utf-8")
    path.chmod(0o755)
    (tmp_path / "starts").touch()
    monkeypatch.setattr("ridecast.children.sys.executable", str(path))
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

    def tick() -> None:
        until(lambda: "forecast0" in play.starts())  # else it is stopped before it could note that it was started
        addresses.update(play.arguments("forecast0").split("--addresses ")[1:])

    play.tick = tick
    play.run(processes=2, bounded=True, companions=("api",), forecast0=["stay", 0], forecast1=[1, 0], publish=[0])
    starts = play.starts()
    assert (2, 2, 1, 1) == tuple(starts.count(name) for name in ("forecast0", "forecast1", "api", "publish"))
    assert ["api", "forecast0"] == play.stops()
    assert ["ridecast: forecast1 ends with 1"] == play.said
    assert len(addresses) == 2


def test_it_gives_up_after_so_many_errors_of_ours(play: Play) -> None:
    """An error that no try heals is named at the end of the run, which is 1, and its companions end with it."""
    with pytest.raises(RidecastError) as caught:
        play.run(companions=("publish", "api"), forecast=[1])
    assert str(caught.value) == f"forecaster ended with status 1: forecast ends with 1, {MOST_BUGS + 1} times in a row"
    assert (1, MOST_BUGS + 1) == (caught.value.exit_code, play.starts().count("forecast"))
    assert (["api", "publish"], ["ridecast: forecast ends with 1"]) == (play.stops(), play.said)


def test_errors_far_apart_are_each_the_first(play: Play) -> None:
    """A forecaster that worked steadily before it failed is started again as often as need be."""
    play.patience = Patience(first_s=0.01, longest_s=0.05, steady_after_s=-1.0)
    play.run(bounded=True, forecast=[1] * (MOST_BUGS + 2) + [0], publish=[0])
    assert play.starts().count("forecast") == MOST_BUGS + 3


def test_what_is_away_is_waited_for(play: Play) -> None:
    """A fault that heals by waiting is tried again more often than an error of ours, and each try is announced."""
    play.run(bounded=True, companions=("api",), forecast=[TRANSIENT_STATUS] * (MOST_BUGS + 3) + [0], publish=[0])
    assert (MOST_BUGS + 4, 1) == (play.starts().count("forecast"), play.starts().count("api"))
    assert len(play.told) == MOST_BUGS + 3
    assert re.fullmatch(r"forecaster ended with status 5: forecast ends with 5; restarting in 0\.0 s, try 2", play.told[0])
    assert play.told[-1].endswith(f"try {MOST_BUGS + 4}")


def test_a_restart_that_a_child_asks_for_is_no_failure(play: Play) -> None:
    """A forecaster that must start again because its source has changed starts at once, however often."""
    play.run(bounded=True, forecast=[RESTART_STATUS] * (MOST_BUGS + 3) + [0], publish=[0])
    assert play.starts().count("forecast") == MOST_BUGS + 4
    assert set(play.told) == {"forecaster starts again: forecast ends with 4"}


def test_a_bounded_run_does_not_wait_for_ever(play: Play) -> None:
    """After the time in the settings a bounded run names what it waited for, how long, and the setting."""
    with pytest.raises(RidecastError, match=r"^forecaster was killed by SIGKILL, \d+ times in a row for \d s \(setting wait_limit_s\)$"):
        play.run(bounded=True, wait_limit_s=0.5, forecast=["killed"])
    assert "forecaster was killed by SIGKILL; restarting in 0.0 s, try 2" in play.told


def test_a_bounded_run_publishes_before_it_ends_as_halted(play: Play) -> None:
    """A forecaster some of whose regions halted is not tried again: what is recorded is published, then the run ends with 3."""
    with pytest.raises(RidecastError, match=r"^forecaster ended with status 7: forecast ends with 7$") as caught:
        play.run(bounded=True, forecast=[HALTED_STATUS], publish=[0])
    assert (3, ["forecast", "publish"]) == (caught.value.exit_code, play.starts())


def test_a_live_run_outlives_its_halted_regions(play: Play) -> None:
    """When every region has halted the companions go on, and the next try is announced."""
    play.tick = lambda: os.kill(os.getpid(), signal.SIGTERM) if play.told else None
    play.run(companions=("api",), forecast=[HALTED_STATUS])
    assert (["api"], 1) == (play.stops(), play.starts().count("forecast"))
    assert ["forecaster ended with status 7: forecast ends with 7; restarting in 300.0 s, try 2; the rest of the run goes on"] == play.told


@pytest.mark.parametrize(("status", "code"), [(2, 2), (PERMANENT_STATUS, 1)])
def test_a_permanent_error_ends_the_run_at_once(play: Play, status: int, code: int) -> None:
    """A forecaster whose error stays is not tried again; wrong usage stays wrong usage."""
    with pytest.raises(RidecastError, match=f"^forecaster ended with status {status}: forecast ends with {status}$") as caught:
        play.run(companions=("api",), forecast=[status])
    assert caught.value.exit_code == code
    assert 1 == play.starts().count("forecast")
    assert play.said == [f"ridecast: forecast ends with {status}"]


@pytest.mark.parametrize("status", [2, PERMANENT_STATUS])
def test_a_companion_never_ends_the_run(play: Play, status: int) -> None:
    """An API that cannot start is reported with the time of the next try, and the forecaster works on."""
    play.tick = lambda: os.kill(os.getpid(), signal.SIGTERM) if play.told else None
    play.run(companions=("api",), api=[status])
    assert (["forecast"], 1) == (play.stops(), play.starts().count("api"))
    how = f"api ended with status {status}: api ends with {status}"
    assert play.told == [f"{how}; restarting in 300.0 s, try 2; the rest of the run goes on"]


def test_the_process_that_says_why_comes_before_the_others(play: Play) -> None:
    """Of two that end together, the one with a permanent error decides."""

    def both_have_ended() -> None:
        until(lambda: len(play.said) == 1)
        time.sleep(0.2)

    play.tick = both_have_ended
    with pytest.raises(RidecastError, match=r"^forecaster ended with status 3: forecast1 ends with 3$"):
        play.run(processes=2, forecast0=["killed"], forecast1=[PERMANENT_STATUS])


def test_the_first_to_end_is_named(play: Play) -> None:
    """A process that has only lost its connection to another one does not hide why that one ended."""

    def both_have_ended() -> None:
        if play.starts().count("forecast0") == 1:
            until(lambda: len(play.said) == 1)
            time.sleep(0.2)

    play.tick = both_have_ended
    play.run(processes=2, bounded=True, forecast0=["killed", 0], forecast1=[PEER_STATUS, 0], publish=[0])
    assert [line.split(";")[0] for line in play.told] == ["forecaster was killed by SIGKILL"]


def test_a_live_forecaster_that_ends_by_itself_is_started_again(play: Play) -> None:
    """Only rides that have an end may end a forecaster: a SIGTERM to the child alone does not stop a live run."""
    play.tick = lambda: os.kill(os.getpid(), signal.SIGTERM) if play.starts().count("forecast") == 3 else None
    play.run(forecast=[0, 0, "stay"])
    assert play.starts() == ["forecast"] * 3
    with pytest.raises(RidecastError, match=r"^forecaster ended unexpectedly, 6 times in a row$"):
        play.run(forecast=[0])


def test_a_companion_is_started_again_alone(play: Play) -> None:
    """A publisher that fails is started again for as long as it takes; the forecaster does not notice."""
    play.tick = lambda: os.kill(os.getpid(), signal.SIGTERM) if play.starts().count("publish") == 8 else None
    play.run(companions=("publish",), publish=[1] * 7 + ["stay"])
    assert (1, 8) == (play.starts().count("forecast"), play.starts().count("publish"))
    assert (["ridecast: publish ends with 1"], 7) == (play.said, len(play.told))


def test_a_failed_publication_is_a_failure_of_the_run(play: Play) -> None:
    """A bounded run whose forecasts are recorded and not published ends with 1."""
    with pytest.raises(RidecastError, match=r"^publisher ended with status 3: publish ends with 3$"):
        play.run(bounded=True, forecast=[0], publish=[PERMANENT_STATUS])


def test_a_try_waits_for_its_time(play: Play) -> None:
    """Between two starts lies at least the wait that was announced."""
    play.patience = Patience(first_s=0.8, longest_s=0.8, spread=0.0)
    at_s: list[float] = []
    play.tick = lambda: at_s.append(time.monotonic()) if len(at_s) < len(play.starts()) and play.starts()[-1] == "forecast" else None
    play.run(bounded=True, forecast=[TRANSIENT_STATUS, 0], publish=[0])
    assert at_s[1] - at_s[0] >= 0.8
    assert play.told == ["forecaster ended with status 5: forecast ends with 5; restarting in 0.8 s, try 2"]


@pytest.mark.parametrize("role", ["forecast", "api"])
def test_a_child_that_hangs_is_started_again(play: Play, role: str) -> None:
    """A suspended child sends no heartbeat: it is killed after the time in the settings, which the line says, and started again."""
    play.tick = lambda: os.kill(os.getpid(), signal.SIGTERM) if play.starts().count(role) == 2 else None
    acts: dict[str, Any] = {role: ["stopped", "stay"]}
    play.run(companions=("api",), hang_after_s=1.0, **acts)
    name = {"forecast": "forecaster"}.get(role, role)
    assert re.match(rf"{name} did not respond for 1 s and was killed; restarting in 0\.0 s, try 2", play.told[0])
    assert len(play.told) == 1


def test_what_only_watches_does_not_end_the_run(play: Play) -> None:
    """A progress line that raises is reported once, and the run goes on to its end."""

    def broken() -> None:
        raise ValueError("no database")

    play.tick = broken
    play.run(bounded=True, forecast=[0], publish=[0])
    assert play.starts() == ["forecast", "publish"]
    assert play.told == ["the progress cannot be shown: ValueError('no database'); the run goes on"]


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
    monkeypatch.setattr(children, "STOP_WITHIN_S", 0.3)
    play.tick = lambda: os.kill(os.getpid(), signal.SIGTERM) if len(play.starts()) == 2 else None
    play.run(companions=("api",), forecast=["deaf"])
    assert (["api"], ["forecaster did not stop in time and was killed; the next run resumes where the ledger ends"]) == (
        play.stops(),
        play.told,
    )


def test_a_region_is_taken_up_and_joins(play: Play) -> None:
    """It first has a forecaster of its own, and only those that serve regions start again; then one team forecasts both."""
    seen: list[str] = []

    def tick() -> None:
        assert play.supervisor is not None
        match len(play.starts()), len(seen):
            case 4, 0:
                play.supervisor.take_up("chi")
                until(lambda: len(play.starts()) == 7)
                seen.extend([play.arguments("forecast"), play.arguments("publish"), *play.stops()])
            case 7, _:
                play.supervisor.join("chi")
                until(lambda: len(play.starts()) == 8)
                seen.append(play.arguments("forecast"))
                os.kill(os.getpid(), signal.SIGTERM)

    play.tick = tick
    play.run(companions=("publish", "api", "feed"))
    alone, published, *stopped, together = seen
    assert alone.endswith("forecast --regions chi --beside")
    assert published.endswith("publish --regions nyc,chi")
    assert ["api", "publish"] == stopped
    assert together.endswith("forecast --regions nyc,chi --processes 1")
    assert (1, 3) == (play.starts().count("feed"), play.starts().count("forecast"))


def test_a_region_that_fails_while_it_catches_up_disturbs_nobody(play: Play) -> None:
    """Its forecaster is tried again for as long as it takes; that of the others runs on."""

    def tick() -> None:
        assert play.supervisor is not None
        if len(play.starts()) == 1:
            play.supervisor.take_up("chi")
            until(lambda: len(play.starts()) == 2)
        elif len(play.told) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    play.tick = tick
    play.run(forecast=["stay", PERMANENT_STATUS])
    assert ["forecast"] == play.stops()
    assert play.told[1].startswith("forecaster of chi ended with status 3: forecast ends with 3; restarting in 300.0 s, try 2")


def until(true: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait for something to become true."""
    give_up_at = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.02)
