"""The application: all resources and the middleware. Opens no connections and starts nothing."""

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware

from api import (
    acknowledgements,
    alerts,
    errors_by_band,
    experiments,
    explanations,
    fairness,
    flags,
    forecasts,
    health,
    history,
    jobs,
    ledger_entries,
    ledger_tiles,
    metrics,
    models,
    page_files,
    parameters,
    proofs,
    regions,
    tracks,
)
from api.access import AccessCounter
from api.context import ApiContext
from api.openapi import openapi_operation
from api.problems import HANDLERS, CatchAll
from api.resource import Operation
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger
from ledger.store.spool import Spool
from ledger.views.online.protocol import OnlineStore
from schemas.configuration.settings import Settings

RESOURCES: tuple[Operation, ...] = (
    *forecasts.OPERATIONS,  # First: routes are tried in this order, and most requests are for forecasts.
    *regions.OPERATIONS,
    *proofs.OPERATIONS,
    *explanations.OPERATIONS,
    *history.OPERATIONS,
    *tracks.OPERATIONS,
    *models.OPERATIONS,
    *fairness.OPERATIONS,
    *errors_by_band.OPERATIONS,
    *experiments.OPERATIONS,
    *ledger_tiles.OPERATIONS,  # Before the entries: otherwise tile/entries/000 matches an entry of a log whose name ends in /tile.
    *ledger_entries.OPERATIONS,
    *health.OPERATIONS,
    *metrics.OPERATIONS,
    *alerts.OPERATIONS,
    *jobs.OPERATIONS,
    *acknowledgements.OPERATIONS,
    *parameters.OPERATIONS,
    *flags.OPERATIONS,
)
OPERATIONS: tuple[Operation, ...] = (*RESOURCES, openapi_operation(RESOURCES), *page_files.OPERATIONS)


def create_app(
    ledger: Ledger,
    blobs: Blobs,
    store: OnlineStore | None,
    regions: Sequence[str],
    settings: Settings,
    clock: Callable[[], float],
    accesses: AccessCounter | None = None,
    spool: Spool | None = None,
) -> Starlette:
    """The API over open stores.

    Args:
        ledger, blobs, store: Open; the caller closes them. Without a store newest forecasts come from the ledger.
        regions: Names of the regions to serve, bootstrapped or not.
        settings: Parsed by the caller.
        clock: Seconds since 1970, UTC, such as time.time.
        accesses: Counts every answer, if accesses are recorded.
        spool: Takes what clients may write, if they may.
    """
    return application(ApiContext(ledger, blobs, store, regions, settings, clock, accesses, spool))


def application(context: ApiContext) -> Starlette:
    """The API over a context, which a `Watcher` may keep up to date."""
    middleware = [Middleware(CatchAll)]
    routes = [operation.route(context) for operation in OPERATIONS]
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=HANDLERS)
    app.router.redirect_slashes = False  # The address of a redirect would be made from the Host that the client sends.
    return app
