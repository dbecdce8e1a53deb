"""The supervisor of child processes: starts them, waits with them for what is away, and stops all cleanly.

Children are spawned, never forked (librdkafka and OpenMP do not survive a fork), and get their settings
through the environment. They resume where the ledger ends, so any of them may be restarted at any time. What only
watches, such as the progress line, never ends a run.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from dataflows.stream.stopping import StopEvent
from ledger.store.waiting import Patience
from ridecast.children import Child, free_addresses, stop_all
from ridecast.logs import Reporter
from ridecast.notify import ServiceSocket, reap_orphans
from ridecast.relay import Relay
from ridecast.team import HALTED_EXIT, Care, Team
from schemas.errors import RidecastError

TURN_S = 0.1
WITHOUT_REGIONS = ("feed", "jobs")  # companions whose work does not depend on the regions
# role -> as people are told, where it differs
NAMES = {"forecast": "forecaster", "publish": "publisher", "learn": "learner", "watch": "watcher", "jobs": "scheduler"}


@dataclass(slots=True)
class Supervisor:
    """Runs forecasters and their companions until they end or are stopped.

    Args:
        environment: Environment of the children.
        regions: Regions to forecast together.
        processes: Forecaster processes.
        bounded: End when all rides available at the start have been processed.
        companions: Roles to keep running beside the forecasters.
        relay: Passes on the children's output.
        reporter: Reports what happens to the children.
        inherited: Descriptors that children keep open while they run.
        hang_after_s: A child that is silent for so long is restarted.
        wait_limit_s: How long a bounded run waits for what is away; other runs wait for ever.
        patience: How long to wait between two tries.
        beside: Regions that start in a forecaster of their own, see `take_up`.
        service: Receives the state of the run, such as systemd.
        stop: Set by SIGTERM and SIGINT while it runs.
    """

    environment: dict[str, str]
    regions: Sequence[str]
    processes: int
    bounded: bool
    companions: Sequence[str]
    relay: Relay
    reporter: Reporter
    inherited: Sequence[int] = ()
    hang_after_s: float = 60.0
    wait_limit_s: float = 600.0
    patience: Patience = field(default_factory=Patience)
    beside: Sequence[str] = ()
    service: ServiceSocket = field(default_factory=ServiceSocket)
    stop: StopEvent = field(default_factory=StopEvent)
    _teams: list[Team] = field(default_factory=list)
    _companions: dict[str, Team] = field(default_factory=dict)
    _forecasting: Team | None = None
    _catching_up: dict[str, Team] = field(default_factory=dict)
    _care: Care | None = None
    _ready: bool = False
    _watching_failed: bool = False

    def run(self, on_tick: Callable[[], str | None]) -> None:
        """Run to the end; `on_tick` is called several times a second and returns the state of the run in words.

        Raises:
            RidecastError: trying again does not help, or a bounded run waited too long or was stopped before its end.
                It carries the exit code.
        """
        self.stop.listen(again=self._kill_all)
        care = Care(self.environment, self.relay, self.reporter, self.inherited, self.hang_after_s, self.patience, lot=random.random)
        self._care = care
        limit_s = self.wait_limit_s if self.bounded else None
        forecasters = Team(NAMES["forecast"], care, self._forecasters, ends=self.bounded, give_up_after_s=limit_s)
        drain = Team(NAMES["publish"], care, self._drain, ends=True, give_up_after_s=limit_s)
        self._forecasting = forecasters
        self._companions = {role: self._companion(role, care) for role in self.companions}
        self._catching_up = {region: self._alone(region, care) for region in self.beside}
        self._teams = [*self._companions.values(), forecasters, *self._catching_up.values()]
        for team in self._teams:
            team.start(time.monotonic())
        try:
            halted = self._until_done_or_halted(forecasters, on_tick)
            if self.bounded and not self.stop.is_set():
                stop_all([child for team in self._teams for child in team.children])
                self._teams = [drain]
                drain.start(time.monotonic())
                self._until_done(drain, on_tick)
            if halted is not None:
                raise halted
        finally:
            self.service.stopping()
            self._stop([child for team in self._teams for child in team.children])
        if self.bounded and self.stop.is_set():
            raise _stopped(self.stop.number)

    def take_up(self, region: str) -> None:
        """Run one more region; call it from `on_tick` of a live run.

        It has a forecaster of its own until it has caught up, so the others go on meanwhile. Those that serve all regions
        start again, with one more.
        """
        if self.stop.is_set() or self._care is None:
            return
        self.reporter.info(f"region {region}: taken up, in a forecaster of its own until it has caught up")
        team = self._catching_up[region] = self._alone(region, self._care)
        self._teams.append(team)
        team.start(time.monotonic())
        self._start_again([team for role, team in self._companions.items() if role not in WITHOUT_REGIONS])

    def join(self, region: str) -> None:
        """Forecast a region that has caught up together with the others, in the same processes."""
        if self.stop.is_set() or self._forecasting is None:
            return
        self.reporter.info(f"region {region}: has caught up; the forecasters start again, to go on together")
        team = self._catching_up.pop(region)
        self._teams.remove(team)
        self._stop(team.children)
        self.regions = [*self.regions, region]
        self._start_again([self._forecasting])

    def _start_again(self, teams: Sequence[Team]) -> None:
        self._stop([child for team in teams for child in team.children])
        if not self.stop.is_set():
            for team in teams:
                team.start(time.monotonic())

    def _stop(self, children: Sequence[Child]) -> None:
        for child in stop_all(children, meanwhile=self.service.alive):
            self.reporter.warning(
                f"{NAMES.get(child.role, child.role)} did not stop in time and was killed; the next run resumes where the ledger ends"
            )

    def _until_done_or_halted(self, team: Team, on_tick: Callable[[], str | None]) -> RidecastError | None:
        """Work until the end; the error of a bounded run whose regions halted, which is raised when the others are published."""
        try:
            self._until_done(team, on_tick)
        except RidecastError as error:
            if self.bounded and error.exit_code == HALTED_EXIT:
                return error
            raise
        return None

    def _until_done(self, team: Team, on_tick: Callable[[], str | None]) -> None:
        while not self.stop.is_set():
            self.stop.wait(TURN_S)
            self._watch(on_tick)
            for one in self._teams:
                one.look(time.monotonic())
            if team.done:
                break
            reap_orphans({child.process.pid for one in self._teams for child in one.children if child.process is not None})
        self._watch(on_tick)

    def _watch(self, on_tick: Callable[[], str | None]) -> None:
        try:
            state = on_tick()
        except Exception as error:  # it only watches
            state = None
            if not self._watching_failed:
                self.reporter.warning(f"the progress cannot be shown: {error!r}; the run goes on")
            self._watching_failed = True
        self.service.alive()
        if not self._ready and all(team.works for team in self._teams):
            self._ready = True
            self.service.ready()
        if state:
            self.service.status(state)

    def _companion(self, role: str, care: Care) -> Team:
        def make() -> list[Child]:
            return [Child(role, [role, "--regions", ",".join([*self.regions, *self._catching_up])])]

        return Team(NAMES.get(role, role), care, make, optional=True)

    def _alone(self, region: str, care: Care) -> Team:
        """The forecaster of one region, beside those of the others."""
        arguments = ["forecast", "--regions", region, "--beside"]
        return Team(f"{NAMES['forecast']} of {region}", care, lambda: [Child("forecast", arguments)], optional=True)

    def _forecasters(self) -> list[Child]:
        addresses = free_addresses(self.processes) if self.processes > 1 else []
        children: list[Child] = []
        for number in range(self.processes):
            arguments = ["forecast", "--regions", ",".join(self.regions), "--processes", str(self.processes)]
            if addresses:
                arguments += ["--process", str(number), "--addresses", ";".join(addresses)]
            if self.bounded:
                arguments.append("--until-end")
            children.append(Child("forecast", arguments))
        return children

    def _drain(self) -> list[Child]:
        """Publishes everything that the run has recorded, then ends."""
        return [Child("publish", ["publish", "--regions", ",".join(self.regions), "--drain"])]

    def _kill_all(self, number: int) -> None:
        """At a second signal: end everything now. It runs in the signal handler, so it works while the main thread is stuck."""
        for team in self._teams:
            for child in team.children:
                with suppress(Exception):
                    child.kill()
        with suppress(Exception):
            self.reporter.error(f"killed by a second {signal.Signals(number).name}; run the same command to resume")
        os._exit(128 + number)


def _stopped(number: int) -> RidecastError:
    """The error for a run stopped by a signal before its end: a script must not take it for complete."""
    how = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    error = RidecastError(f"stopped by {how} before the end of the rides; run the same command to resume")
    error.exit_code = 128 + number  # as shells report signals
    return error
