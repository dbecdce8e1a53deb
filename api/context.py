"""The context that every resource receives: open stores, regions, settings, the clock; and shared checks of parameters."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from api.access import AccessCounter
from api.alerts_read import AlertsRead
from api.arms import Experiments
from api.explained import Explanations, Latest
from api.flags_read import FlagsRead
from api.jobs_read import JobsRead
from api.measured import Measured
from api.newest import NewestIssues
from api.once import Once
from api.points import Points
from api.probes import Probe, Probes
from api.problems import Problem, bad_value
from api.recent import RecentAnswers
from api.threads import StoreThreads
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger
from ledger.store.provers import Provers
from ledger.store.spool import Spool
from ledger.views.control import ControlView
from ledger.views.freshness import ClosePace, Freshness, freshness, slots_without_close
from ledger.views.online.protocol import OnlineStore
from ledger.views.region_view import RegionView
from ledger.views.regions import bootstrap_of, defined_by
from ledger.views.standing import Stand, Standings
from schemas.configuration.settings import Settings
from schemas.errors import NotFound, UsageError
from schemas.events.cells import cell_code
from schemas.records.records import CONTROL_LOG, ExperimentStarted
from schemas.regions import US_PER_S, Region
from state.decide.job_runs import Jobs
from state.decide.parameter_table import PARAMETERS, UNREADY_AFTER
from state.decide.parameters import InForce, find

KEPT_EXPERIMENTS = 16  # whose losses are held, some numbers per block and cell
NO_BLOB = bytes(32)  # requested only to test whether the store answers


@dataclass(frozen=True, slots=True)
class Age:
    """The age of a region's data at one moment.

    Attributes:
        age_s: Time since the end of its newest closed slot.
        slots: The same in slot lengths, without the issue lateness.
    """

    age_s: int
    slots: float
    freshness: Freshness

    @property
    def stale(self) -> bool:
        """Whether its forecasts no longer describe the time after now."""
        return self.freshness in (Freshness.STALE, Freshness.REPLAYING)


class ApiContext:
    """Open stores of one application, and what is held in memory to answer without them.

    Args:
        ledger, blobs, store: Open; the caller closes them. No store: the ledger is asked instead.
        regions: Names of the regions that are served.
        settings: Parsed by the caller.
        clock: Seconds since 1970, UTC.
        accesses: Counts every answer, where accesses are recorded.
        spool: Takes what this process has to say, where it may say something.
        monotonic: Monotonic seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        store: OnlineStore | None,
        regions: Sequence[str],
        settings: Settings,
        clock: Callable[[], float],
        accesses: AccessCounter | None = None,
        spool: Spool | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ledger, self.blobs, self.store = ledger, blobs, store
        self.regions = tuple(regions)
        self.settings = settings
        self.accesses, self.spool = accesses, spool
        self.monotonic = monotonic
        self.points = Points(blobs)
        self.provers = Provers(ledger, blobs)
        self.explanations = Explanations()
        self.probes = Probes(probes_of(ledger, blobs, store))
        self.threads = StoreThreads(self.probes.answered_since, heard_since=self.probes.heard_since)
        self.experiments = Experiments(ledger)
        self.measured: Latest[tuple[RegionView, ExperimentStarted], Measured] = Latest(KEPT_EXPERIMENTS)
        self.newest = NewestIssues(blobs, store, lambda: self.probes.ok("online_store"), self.experiments)
        self.alerts = AlertsRead(ledger)
        self.jobs = JobsRead(ledger)
        self.flags = FlagsRead(ledger)
        self.recent = RecentAnswers()
        self.once = Once()
        self._clock = clock
        self._generation = 0  # of what is in memory
        self._views: dict[str, RegionView] = {}
        self._paces: dict[str, ClosePace] = {}
        self._watched: set[str] = set()  # regions that `refresh` has read at least once since `watch`
        self._watching = False
        self._sizes: dict[str, int] = {}
        self._standings = Standings(ledger)
        self._control = ControlView(ledger)
        self._parameters: InForce = {}
        self._refreshing: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return int(self._clock() * US_PER_S)

    def token(self) -> tuple[int, int]:
        """Changes with what is in memory, and each second."""
        return self._generation, int(self._clock())

    # --- what is in memory -----------------------------------------------------------------------

    def watch(self) -> None:
        """Mark that a background task refreshes every region, so requests need not."""
        self._watching = True

    def in_memory(self, request: Request) -> bool:
        """Whether the regions that a request asks about are kept up to date outside of requests."""
        name = request.path_params.get("region")
        return name in self._watched or (len(self._watched) == len(self.regions) and name is None)

    def refresh(self, name: str) -> RegionView | None:
        """Bring a region's view and newest issues up to date; None before it is bootstrapped. May wait for a store.

        Raises:
            RidecastError: the ledger cannot be read; what was read before is still served.
        """
        with self._lock:
            refreshing = self._refreshing.setdefault(name, threading.Lock())
        with refreshing:  # Else every request that comes while a long log is first folded would fold it too.
            before = self._views.get(name)
            size = before.size if before is not None else 0
            view = self._current(name)
            if view is not None:
                changed = [self.newest.refresh(view, measure) for measure in view.region.measures]
                if view is not before or view.size != size or any(changed):
                    self._generation += 1
                if view.newest is not None:
                    self._paces[name].observe(self.monotonic(), view.newest.slot)
            if self._watching:
                self._watched.add(name)
            return view

    def _current(self, name: str) -> RegionView | None:
        view = self._views.get(name)
        if view is not None and view.refresh():
            return view
        try:
            boot = bootstrap_of(self.ledger, name)
        except NotFound:
            return None
        new = RegionView(self.ledger, self.blobs, defined_by(boot), boot)
        if not new.refresh():
            return self._current(name)
        self.newest.forget(name)
        self._views[name], self._paces[name] = new, ClosePace(new.region)
        return new

    def sizes(self) -> dict[str, int]:
        """Size of every log as last read; reads them only where nobody watches."""
        if not self._watching:
            self.read_sizes()
        return self._sizes

    def read_sizes(self) -> None:
        """Read the size of every log. May wait for a store."""
        self._sizes = {log: self.ledger.head(log).size for log in self.ledger.logs()}

    def standing(self, name: str) -> Stand:
        """How a region is served, as last read; reads it only where nobody watches."""
        if not self._watching:
            self.read_standings()
        return self._standings.of(name)

    def read_standings(self) -> None:
        """Read which regions are held or halted, and what parameters say. May wait for a store."""
        with self._lock:
            lock = self._refreshing.setdefault("", threading.Lock())  # no region has this name
        with lock:
            before = [self._standings.of(name) for name in self.regions], self._parameters
            self._standings.refresh()
            self._parameters = self._control.latest().parameters
            if before != ([self._standings.of(name) for name in self.regions], self._parameters):
                self._generation += 1

    def notices(self) -> tuple[dict[tuple[str, str, str], int], Jobs]:
        """Counts of open alerts, and the jobs, as last read; reads them only where nobody watches."""
        if not self._watching:
            self.read_notices()
        return self.alerts.counts, self.jobs.last_read

    def read_notices(self) -> None:
        """Read the logs of alerts and of jobs, for the metrics. May wait for a store."""
        self.alerts.refresh()
        self.jobs.latest()

    def unready_after_slots(self, name: str) -> float:
        """Slots without a close after which a region is not ready: a parameter of the control log as last read, or the setting."""
        if not self._watching:
            self.read_standings()
        row, usual = PARAMETERS[UNREADY_AFTER], self.settings.unready_after_slots
        return float(find(self._parameters, row, name, default=usual).value)

    def view(self, name: str) -> RegionView | None:
        """The view of a region's log, or None before it is bootstrapped; waits for a store only where nobody watches the region."""
        return self._views.get(name) if name in self._watched else self.refresh(name)

    def require_view(self, name: str) -> RegionView:
        """The region of that name.

        Raises:
            Problem: 404 for an unknown one, 409 before it is bootstrapped.
        """
        if name not in self.regions:
            known = ", ".join(self.regions) or "none"
            raise Problem(404, "unknown-region", f"region: expected one of {known}, got {name!r}", field="region")
        view = self.view(name)
        if view is None:
            detail = f"region {name} is not bootstrapped yet; run `ridecast bootstrap --region {name} --until DATE`"
            raise Problem(409, "not-bootstrapped", detail, field="region")
        return view

    def age(self, view: RegionView) -> Age | None:
        """The age of a region's data now; None before its first slot is closed."""
        newest = view.newest
        return self.age_at(view, (newest.slot + 1) * view.region.slot_us) if newest is not None else None

    def age_at(self, view: RegionView, end_us: int) -> Age:
        """The age of data up to a time, in event time."""
        age_s = max(0, (self.now_us() - end_us) // US_PER_S)
        pace = self._paces.get(view.region.id)
        replaying = pace is not None and pace.replaying(self.monotonic())
        state = freshness(age_s, view.region, stale_after_slots=self.settings.stale_after_slots, replaying=replaying)
        return Age(age_s, slots_without_close(age_s, view.region), state)


def probes_of(ledger: Ledger, blobs: Blobs, store: OnlineStore | None) -> list[Probe]:
    """One probe for each store: the smallest request that it must be able to answer."""
    probes = [
        Probe("ledger", lambda: ledger.head(CONTROL_LOG), needed=True),
        Probe("blobs", lambda: blobs.has(NO_BLOB), needed=True),
    ]
    if store is not None:
        probes.append(Probe("online_store", lambda: store.newest("ping", "ping"), needed=False))
    return probes


def measure_of(request: Request, region: Region) -> str:
    """The measure in the query, or the region's first.

    Raises:
        Problem: the region does not have it.
    """
    name = request.query_params.get("measure", region.measures[0])
    if name not in region.measures:
        raise bad_value("measure", f"expected one of {', '.join(region.measures)}, got {name!r}")
    return name


def cell_of(text: str, region: Region) -> int:
    """Code of a cell of the region.

    Raises:
        Problem: not a geohash of the region's precision.
    """
    try:
        code = cell_code(text.lower())
    except UsageError as cause:
        raise Problem(422, "bad-value", str(cause), field="cell") from None
    if len(text) != region.precision:
        raise bad_value("cell", f"expected {region.precision} letters in region {region.id}, got {text!r}")
    return code


def horizon_of(request: Request, region: Region) -> int | None:
    """Position of the horizon in the query, or None for all.

    Raises:
        Problem: the region does not forecast it.
    """
    text = request.query_params.get("horizon_min")
    if text is None:
        return None
    for position, horizon_min in enumerate(region.horizons_min):
        if text == str(horizon_min):
            return position
    raise bad_value("horizon_min", f"expected one of {', '.join(map(str, region.horizons_min))}, got {text!r}")
