"""The context that every resource receives: open stores, regions, settings, the clock; and shared checks of parameters."""

import threading
from collections.abc import Callable, Sequence

from starlette.requests import Request

from api.access import AccessCounter
from api.points import Points
from api.problems import Problem, bad_value
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger
from ledger.store.provers import Provers
from ledger.store.spool import Spool
from ledger.views.online.protocol import OnlineStore
from ledger.views.region_view import RegionView
from ledger.views.regions import bootstrap_of, defined_by
from schemas.errors import NotFound, UsageError
from schemas.events.cells import cell_code
from schemas.regions import US_PER_S, Region
from schemas.settings import Settings


class ApiContext:
    """Open stores of one application.

    Args:
        ledger, blobs, store: Open; the caller closes them.
        regions: Names of the regions that are served.
        settings: Parsed by the caller.
        clock: Seconds since 1970, UTC.
        accesses: Counts every answer, where accesses are recorded.
        spool: Takes what this process has to say, where it may say something.
    """

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        store: OnlineStore,
        regions: Sequence[str],
        settings: Settings,
        clock: Callable[[], float],
        accesses: AccessCounter | None = None,
        spool: Spool | None = None,
    ) -> None:
        self.ledger, self.blobs, self.store = ledger, blobs, store
        self.regions = tuple(regions)
        self.settings = settings
        self.accesses, self.spool = accesses, spool
        self.points = Points(blobs)
        self.provers = Provers(ledger, blobs)
        self._clock = clock
        self._views: dict[str, RegionView] = {}
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return int(self._clock() * US_PER_S)

    def view(self, name: str) -> RegionView | None:
        """The current view of a region's log, or None before it is bootstrapped."""
        with self._lock:
            view = self._views.get(name)
            if view is None:
                try:
                    boot = bootstrap_of(self.ledger, name)
                except NotFound:
                    return None
                view = self._views[name] = RegionView(self.ledger, self.blobs, defined_by(boot), boot)
        if not view.refresh():
            with self._lock:
                if self._views.get(name) is view:
                    del self._views[name]
            return self.view(name)
        return view

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
