"""Prometheus metrics, read from the ledger at each request; the registry belongs to one application."""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy
from api.context import ApiContext
from api.resource import Operation, if_watched
from ledger.store.tally_files import read_tallies
from ledger.views.freshness import Freshness
from ledger.views.region_view import RegionView
from ledger.views.standing import Standing
from schemas.events.rides import Reason
from schemas.events.tally import IntakeTally
from schemas.records.records import Fallback
from schemas.regions import US_PER_S
from state.decide.job_runs import RunState


class LedgerCollector(Collector):
    """Reads every region's view; counters start at the region's first slot, so they survive a restart."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        """Every metric family, from one read of the regions."""
        views = [view for name in self._context.regions if (view := self._context.view(name)) is not None]
        yield from self._stores()
        yield from self._freshness(views)
        yield from self._slots(views)
        yield from _events(views)
        yield from _intake(read_tallies(self._context.settings.home), self._context.regions)
        yield from _scores(views)
        yield from _routes(views)
        yield from self._notices()

    def describe(self) -> list[Metric]:
        """Nothing: registering must not read the ledger."""
        return []

    def _stores(self) -> Iterator[Metric]:
        sizes = GaugeMetricFamily("ridecast_log_size_entries", "Entries of a log, as last read.", labels=["log"])
        for log, size in sorted(self._context.sizes().items()):
            sizes.add_metric([log], size)
        answers = GaugeMetricFamily("ridecast_store_up", "1 if a store answers.", labels=["store"])
        for state in self._context.probes.states():
            answers.add_metric([state.name], state.ok)
        open_requests = GaugeMetricFamily("ridecast_store_requests", "Requests that wait for a store.")
        open_requests.add_metric([], self._context.threads.open)
        yield from (sizes, answers, open_requests)

    def _notices(self) -> Iterator[Metric]:
        """Open alerts, and the state of each job's newest run."""
        alerts = GaugeMetricFamily("ridecast_alerts", "Alerts that are not resolved.", labels=["region", "severity", "state"])
        counts, jobs = self._context.notices()
        for place, count in sorted(counts.items()):
            alerts.add_metric(list(place), count)
        runs = GaugeMetricFamily("ridecast_job_run", "1 for the state of a job's newest run.", labels=["job", "state"])
        began = GaugeMetricFamily("ridecast_job_run_changed_seconds", "When that state was recorded, seconds since 1970.", labels=["job"])
        for name, job in jobs.jobs.items():
            if job.run is not None:
                began.add_metric([name], job.run.at_us / US_PER_S)
                for state in RunState:  # Also zeros, so that an alert on a failure has a series.
                    runs.add_metric([name, state.value], state is job.run.state)
        yield from (alerts, runs, began)

    def _freshness(self, views: list[RegionView]) -> Iterator[Metric]:
        states = GaugeMetricFamily("ridecast_freshness", "1 for the state that a region's forecasts are in.", labels=["region", "state"])
        slots = GaugeMetricFamily("ridecast_forecast_age_slots", "Slot lengths since the newest close.", labels=["region"])
        for view in views:
            age = self._context.age(view)
            if age is not None:
                slots.add_metric([view.region.id], age.slots)
                for state in Freshness:
                    states.add_metric([view.region.id, state.value], state is age.freshness)
        stands = GaugeMetricFamily("ridecast_standing", "1 for how a region is served.", labels=["region", "standing"])
        for view in views:
            now = self._context.standing(view.region.id).standing
            for standing in Standing:
                stands.add_metric([view.region.id, standing.value], standing is now)
        yield from (states, slots, stands)

    def _slots(self, views: list[RegionView]) -> Iterator[Metric]:
        lag = GaugeMetricFamily("ridecast_slot_lag_seconds", "Time since the end of the newest closed slot.", labels=["region"])
        slot = GaugeMetricFamily("ridecast_slot_end_seconds", "End of the newest closed slot, seconds since 1970.", labels=["region"])
        closed = CounterMetricFamily("ridecast_slots_closed", "Slots closed.", labels=["region", "status"])
        late = CounterMetricFamily("ridecast_corrections", "Rides that arrived after the cut of their slot.", labels=["region"])
        for view in views:
            if view.newest is not None:
                end_us = (view.newest.slot + 1) * view.region.slot_us
                lag.add_metric([view.region.id], (self._context.now_us() - end_us) / US_PER_S)
                slot.add_metric([view.region.id], end_us / US_PER_S)
            with view.lock:
                for status, count in sorted(view.slots_of_status.items()):
                    closed.add_metric([view.region.id, status], count)
                late.add_metric([view.region.id], view.corrections)
        yield from (lag, slot, closed, late)


def _events(views: list[RegionView]) -> Iterator[Metric]:
    labels = ["region", "partition"]
    received = CounterMetricFamily("ridecast_events_received", "Events read below the newest cut.", labels=labels)
    accepted = CounterMetricFamily("ridecast_events_accepted", "Events that passed every rule and were new.", labels=labels)
    duplicate = CounterMetricFamily("ridecast_events_duplicate", "Events whose id was seen before.", labels=labels)
    counted = CounterMetricFamily("ridecast_events_counted", "Accepted events that were counted in a slot.", labels=labels)
    rejected = CounterMetricFamily("ridecast_events_rejected", "Events that broke a rule.", labels=[*labels, "reason"])
    lost = CounterMetricFamily("ridecast_source_lost_offsets", "Offsets that the ride log deleted before they were read.", labels=labels)
    uncounted = CounterMetricFamily(
        "ridecast_events_uncounted", "Accepted events that were not counted in any slot.", labels=[*labels, "reason"]
    )
    for view in views:
        with view.lock:
            for partition, totals in sorted(view.partitions.items()):
                place = [view.region.id, str(partition)]
                received.add_metric(place, totals.received)
                accepted.add_metric(place, totals.accepted)
                duplicate.add_metric(place, totals.duplicate)
                counted.add_metric(place, totals.counted)
                lost.add_metric(place, view.lost[partition])
                for reason in Reason:  # Also zeros, so that an alert on the first rejection has a series.
                    rejected.add_metric([*place, reason.value], totals.rejected.get(reason.value, 0))
                for name, count in sorted(totals.uncounted.items()):
                    uncounted.add_metric([*place, name], count)
    yield from (received, accepted, duplicate, counted, lost, rejected, uncounted)


def _intake(tallies: list[IntakeTally], regions: Sequence[str]) -> Iterator[Metric]:
    """What the running forecasters have read, whether slots close or not; nothing where they run on another machine."""
    labels = ["region", "partition"]
    read = CounterMetricFamily("ridecast_intake_read", "Events read since the forecaster was started.", labels=labels)
    rejected = CounterMetricFamily("ridecast_intake_rejected", "Of these, events that broke a rule.", labels=[*labels, "reason"])
    written = GaugeMetricFamily("ridecast_intake_written_seconds", "When the forecaster last said so, seconds since 1970.", labels=labels)
    for tally in tallies:
        for name, totals in sorted(tally.regions.items()):
            if name in regions:
                place = [name, str(tally.partition)]
                read.add_metric(place, totals.received)
                written.add_metric(place, tally.at_us / US_PER_S)
                for reason in Reason:
                    rejected.add_metric([*place, reason.value], totals.rejected.get(reason.value, 0))
    yield from (read, rejected, written)


def _scores(views: list[RegionView]) -> Iterator[Metric]:
    labels = ["region", "measure", "horizon_min", "settled"]
    truth = CounterMetricFamily("ridecast_score_truth_rides", "Rides in scored windows.", labels=labels)
    cells = CounterMetricFamily("ridecast_score_cells", "Forecasts scored.", labels=labels)
    covered = CounterMetricFamily("ridecast_score_covered", "Forecasts whose true count was in the interval.", labels=labels)
    error = CounterMetricFamily("ridecast_score_abs_error_rides", "Absolute errors of the median.", labels=[*labels, "model"])
    square = CounterMetricFamily("ridecast_score_square_error_rides2", "Squared errors of the mean.", labels=[*labels, "model"])
    for view in views:
        with view.lock:
            for (measure, horizon_min, settled), sums in sorted(view.score_sums.items()):
                place = [view.region.id, measure, str(horizon_min), str(settled).lower()]
                truth.add_metric(place, sums["truth"])
                cells.add_metric(place, sums["cells"])
                covered.add_metric(place, sums["covered"])
                for model, prefix in (("served", ""), ("baseline", "baseline_")):
                    error.add_metric([*place, model], sums[f"{prefix}abs_error_milli"] / 1000)
                    square.add_metric([*place, model], sums[f"{prefix}square_error_micro"] / 1_000_000)
    yield from (truth, cells, covered, error, square)


def _routes(views: list[RegionView]) -> Iterator[Metric]:
    """Who made the newest forecasts; a series with another reason than `no-model` is worth an alert."""
    cells = GaugeMetricFamily(
        "ridecast_served_cells", "Cells of the newest issue, by what served them.", labels=["region", "measure", "fallback"]
    )
    unused = GaugeMetricFamily(
        "ridecast_model_unused", "1 for each model that did not serve the newest issue.", labels=["region", "measure", "role", "reason"]
    )
    for view in views:
        for measure in view.region.measures:
            newest = view.newest_issue(measure)
            if newest is not None:
                for fallback in Fallback:
                    cells.add_metric([view.region.id, measure, fallback.value], newest.record.fallbacks.get(fallback.value, 0))
                for role, why in sorted(newest.record.reasons.items()):
                    unused.add_metric([view.region.id, measure, role, why], 1)
    yield from (cells, unused)


def get_metrics(context: ApiContext, request: Request) -> Response:
    """GET /metrics"""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LedgerCollector(context))
    headers = {"cache-control": CachePolicy.NO_STORE.value, "content-type": CONTENT_TYPE_LATEST}
    return Response(generate_latest(registry), 200, headers)


OPERATIONS = (
    Operation(
        "/metrics",
        "metrics",
        "Totals, sizes, lags and scores in Prometheus' text format",
        get_metrics,
        {"type": "string"},
        problems=(406, 503),
        media_type="text/plain",
        in_memory=if_watched,
    ),
)
