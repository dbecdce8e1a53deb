"""Trains a region: reads counts from the ledger, stores the model as a blob and records it in the control log."""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dataflows.connectors.tracking import track_training
from dataflows.jobs.promoting import OPERATOR, place_trained
from dataflows.jobs.search import SearchPlan, search, whole_days
from dataflows.stream.record import closed_of, history_by_slot
from dataflows.stream.stores import Stores
from ledger.store.blobs import Retention
from ledger.store.log import Head
from ledger.views.append import append_shared
from ledger.views.control import ControlView
from ledger.views.model_story import named, stories_of
from ledger.views.regions import bootstrap_of, defined_by, regions_of
from schemas.errors import LedgerError, NotFound, StoreUnavailable, UsageError
from schemas.records.records import CONTROL_LOG, ModelTrained, RegionBootstrapped, SlotClosed, SlotStatus, region_log
from schemas.regions import Region, unknown_holidays
from state.decide.refits import RECIPE
from state.demand.calendar import Calendar
from state.demand.covariates import Covariates
from state.demand.history import CountHistory
from state.demand.tables import newest_table
from state.forecast.fit_steps import OnProgress
from state.forecast.region import counted_whole, remembering
from state.forecast.sampling import KnownSlot
from state.forecast.search import TrialResult
from state.forecast.training import MOST_ROWS, TrainedModel, fit_sampled, sample_history
from state.models.fit_parameters import AS_SHIPPED, FitParameters

log = logging.getLogger(__name__)

ROOM_BYTES = 4 << 20  # a model of three horizons has 1 to 2 MB
SHIPPED = "shipped"  # the parameters of this release
CONTROL_SIZE = "control_size"  # parameter of a model that was trained with covariates: of the log that they were read from
# Raise it when a change of the training makes another model of the same records: its models are no refits of those before.
RECIPE_VERSION = "2"
PASSED_ON, SEARCHED = "parameters_of", "search_study"  # parameters of a model's record


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model and its record, and the trials of the search that found its parameters."""

    record: ModelTrained
    model: TrainedModel
    trials: tuple[TrialResult, ...] = ()


def train_region(
    stores: Stores,
    region: Region | None,
    *,
    promote: bool,
    reason: str = "by command",
    author: str = OPERATOR,
    trigger: str = "",
    most_rows: int = MOST_ROWS,
    fit_of: str = "",
    search_plan: SearchPlan | None = None,
    on_progress: OnProgress = lambda stage, share: None,
) -> list[Trained]:
    """Train a model per measure on everything counted so far, record it, and promote it if `promote` is set.

    Args:
        region: Which region, or None for the only one in this home.
        promote: Serve it from the next close on; without, it is the challenger.
        reason, author: Of the promotion.
        trigger: Why it is trained, if a policy decided so; recorded with the parameters.
        most_rows: Largest sample to fit; bounds time and memory.
        fit_of: Fit with the parameters of the model with these first digits of its digest, or with SHIPPED; by default with
            those of the champion if a search found them.
        search_plan: Search parameters first, on the whole days of the history, and fit with the best.
    Raises:
        NotFound: the region is not bootstrapped here; there is no such model.
        UsageError: too little history.
        StoreUnavailable: the artefact cannot be stored, or the study of the search cannot be used. That MLflow is away, or has models
            of another ledger, is only reported.
    """
    stores.ledger.admit_all()
    name = region.id if region is not None else only_region(stores)
    boot = bootstrap_of(stores.ledger, name)
    definition = defined_by(boot)
    head = stores.ledger.head(region_log(name))
    check_room(stores)
    out = []
    until, size = next_slot(stores, boot, head.size), head.size  # The region may be running: all measures train on the same slots.
    if search_plan is not None:
        until, size = whole_days(stores.ledger, boot, until, size)
    root = stores.ledger.root_at(region_log(name), size)
    if unknown := unknown_holidays(definition, boot.first_slot, until):
        log.warning("%s", unknown)
    control = ControlView(stores.ledger).latest()
    table, covariates, known = newest_table(control.fold_version(boot, until)), Covariates(), control.covariates_of(name)
    covariates.follow(known)
    for number, measure in enumerate(definition.measures):
        fit, more = parameters_for(stores, name, measure, fit_of)
        slots = known_slots(stores, definition, boot, number, size)
        # The last bit of a tree of the first table depends on how many threads trained it; the record includes their number.
        threads = max(1, os.cpu_count() or 1)
        sampled = sample_history(
            definition,
            slots,
            boot.first_slot,
            until,
            table=table,
            most_rows=most_rows,
            covariates=covariates,
            on_progress=on_progress,
        )
        trials: tuple[TrialResult, ...] = ()
        if search_plan is not None:
            found = search(stores.settings.home, measure, sampled, root, search_plan, threads=threads, on_progress=on_progress)
            fit, more, trials = found.best.fit, found.parameters, found.trials
        model = fit_sampled(sampled, threads=threads, fit=fit, on_progress=on_progress)
        more |= {CONTROL_SIZE: str(control.size)} if known else {}
        more |= {RECIPE: RECIPE_VERSION, "fold_version": str(control.fold_version(boot, until))}
        more |= {"log_size": str(size), **({"trigger": trigger} if trigger else {})}
        model = replace(model, parameters=model.parameters | more)
        on_progress("recording the model", 0.0)
        record = record_training(stores, name, measure, model, [Head(size, root)], size, trials)
        place_trained(stores, record, promote=promote, author=author, reason=reason)
        out.append(Trained(record, model, trials))
    return out


def check_room(stores: Stores) -> None:
    """Find out before a training, which takes minutes, whether its artefact can be stored.

    A learner that cannot store it ends, is started again after a growing pause, and would train each time.

    Raises:
        StoreUnavailable: it cannot.
    """
    probe = stores.blobs.put(hashlib.shake_256(b"room for an artefact").digest(ROOM_BYTES), Retention.FEATURES)
    stores.blobs.remove(probe)


def record_training(
    stores: Stores,
    scope: str,
    measure: str,
    model: TrainedModel,
    trained_on: Sequence[Head],
    log_size: int,
    trials: Sequence[TrialResult] = (),
) -> ModelTrained:
    """Store a trained model as a blob, and record it in MLflow and in the control log.

    Args:
        scope: A region, or what stands for several.
        trained_on: The log of each region that it was trained on, as it was then.
        log_size: As MLflow shows it.
    Raises:
        StoreUnavailable: the artefact cannot be stored.
    """
    digest = stores.blobs.put(model.artefact, Retention.MODEL)
    try:
        track_training(stores.settings, scope, measure, model, digest, ledger=stores.ledger, log_size=log_size, trials=trials)
    except (StoreUnavailable, LedgerError) as failed:
        # Minutes of work must not be lost with it: the ledger is the record, and the artefact is stored.
        log.warning("region %s, %s: trained and recorded, but not in MLflow: %s", scope, measure, failed)
    record = ModelTrained(
        region=scope,
        measure=measure,
        model=digest,
        algorithm=model.algorithm,
        features=model.table.names,
        first_slot=model.first_slot,
        until_slot=model.until_slot,
        rows=model.rows,
        data_digest=hashlib.sha256(b"".join(head.root + head.size.to_bytes(8, "big") for head in trained_on)).digest(),
        parameters=model.parameters,
        metrics={key: f"{value:.6g}" for key, value in model.metrics.items()},
        trained_on=tuple(head.root for head in trained_on),
    )
    append_shared(stores.ledger, CONTROL_LOG, record)
    return record


def parameters_for(stores: Stores, region: str, measure: str, fit_of: str) -> tuple[FitParameters, dict[str, str]]:
    """The parameters to fit with, and what the record says of where they are from.

    Without a choice, a champion whose parameters were searched passes them on, so that training by a schedule keeps them.

    Raises:
        NotFound, UsageError: there is no such model, or more than one; or its training is not on record.
    """
    if fit_of == SHIPPED:
        return AS_SHIPPED, {}
    if fit_of:
        _, chosen = named(stories_of(stores.ledger), fit_of)
        if chosen.trained is None:
            raise UsageError(f"--parameters-of: expected a model whose training is on record, got {chosen.model.hex()[:12]}")
        return FitParameters.recorded(chosen.trained.parameters), {PASSED_ON: chosen.model.hex()}
    story = stories_of(stores.ledger).get((region, measure))
    champion = story.models.get(story.champion) if story is not None else None
    if champion is None or champion.trained is None:
        return AS_SHIPPED, {}
    parameters = champion.trained.parameters
    if PASSED_ON not in parameters and SEARCHED not in parameters:
        return AS_SHIPPED, {}
    return FitParameters.recorded(parameters), {PASSED_ON: parameters.get(PASSED_ON, champion.model.hex())}


def known_slots(stores: Stores, region: Region, boot: RegionBootstrapped, measure: int, size: int) -> Iterator[KnownSlot]:
    """Every counted slot of one measure in order, as it was known at its cut, with the same slot of the others beside it."""
    # Outages follow the rule of the serving fold: a model must not learn them as zero demand.
    histories = [CountHistory(region) for _ in region.measures]
    for slot, counts, observed in remembering(histories, Calendar(region), history_by_slot(region, boot, stores.blobs)):
        yield _beside(region, measure, [KnownSlot(slot, columns.cells, columns.counts, observed) for columns in counts])
    control = ControlView(stores.ledger).latest()
    for stored in stores.ledger.scan(region_log(region.id), 0, size, SlotClosed):
        record = stored.record
        closed = closed_of(region, record, (), stores.blobs)
        observed = record.status != SlotStatus.UNOBSERVED
        whole = counted_whole(record.status, control.fold_version(boot, record.slot))
        both = zip(closed.counts, closed.corrections, strict=True)
        known = [KnownSlot(record.slot, now.cells, now.counts, observed, late.slots, late.cells, late.counts, whole) for now, late in both]
        yield _beside(region, measure, known)


def _beside(region: Region, measure: int, known: Sequence[KnownSlot]) -> KnownSlot:
    """A slot of one measure, with those of the others beside it."""
    return replace(
        known[measure], beside={name: one for name, one in zip(region.measures, known, strict=True) if one is not known[measure]}
    )


def only_region(stores: Stores) -> str:
    """The only bootstrapped region in this home.

    Raises:
        NotFound: there is none, or more than one.
    """
    names = regions_of(stores.ledger)
    if len(names) != 1:
        raise NotFound(f"--region: expected one bootstrapped region in this home, found {', '.join(names) or 'none'}")
    return names[0]


def champions(stores: Stores) -> dict[tuple[str, str], bytes]:
    """Digest of the model in force per (region, measure)."""
    return ControlView(stores.ledger).latest().champions


def next_slot(stores: Stores, boot: RegionBootstrapped, size: int) -> int:
    """The first slot that was still open when the region's log had that size."""
    stored = stores.ledger.entry(region_log(boot.region), SlotClosed)
    while stored is not None and stored.index >= size:  # the log has grown since
        assert stored.slot is not None
        stored = stores.ledger.entry(region_log(boot.region), SlotClosed, stored.slot - 1)
    return boot.start_slot if stored is None or stored.slot is None else stored.slot + 1
