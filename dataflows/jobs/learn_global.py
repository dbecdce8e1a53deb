"""Trains a model on several regions of a home, which stands in for regions without a usable model of their own."""

import os
from collections.abc import Sequence
from dataclasses import replace

from dataflows.jobs.learn import Trained, check_room, known_slots, next_slot, record_training
from dataflows.jobs.promoting import OPERATOR, place_trained
from dataflows.stream.routing import SLOT_MIN
from dataflows.stream.stores import Stores
from ledger.store.log import Head
from ledger.views.control import ControlView
from ledger.views.regions import bootstrap_of, bootstrapped_in, defined_by
from schemas.errors import UsageError
from schemas.records.records import CONTROL_LOG, RegionBootstrapped, region_log
from schemas.regions import Region
from state.demand.covariates import Covariates
from state.demand.tables import newest_table
from state.forecast.fit_steps import OnProgress
from state.forecast.pooling import pooled
from state.forecast.routes import GLOBAL_SCOPE
from state.forecast.training import MOST_ROWS, fit_sampled, sample_history

REGIONS, SIZES = "regions", "log_sizes"  # parameters of a global model


def train_global(
    stores: Stores,
    names: Sequence[str] = (),
    *,
    promote: bool,
    reason: str = "by command",
    author: str = OPERATOR,
    most_rows: int = MOST_ROWS,
    on_progress: OnProgress = lambda stage, share: None,
) -> list[Trained]:
    """Train a model per measure on everything counted so far in several regions, each with the same weight.

    Args:
        names: Regions; by default all of the home.
        promote: Let it stand in from the next close on; without, it is the challenger of the scope `global`.
        most_rows: Largest sample over all regions.
    Raises:
        NotFound: a region is not bootstrapped here.
        UsageError: fewer than two regions, regions with other slots or horizons, or too little history.
        StoreUnavailable: the artefact cannot be stored.
    """
    stores.ledger.admit_all()
    boots = [bootstrap_of(stores.ledger, name) for name in names or bootstrapped_in(stores.ledger)]
    regions = [defined_by(boot) for boot in boots]
    _check_alike(regions)
    check_room(stores)
    heads = [stores.ledger.head(region_log(region.id)) for region in regions]
    out = []
    for measure in dict.fromkeys(measure for region in regions for measure in region.measures):
        having = [(boot, region, head) for boot, region, head in zip(boots, regions, heads, strict=True) if measure in region.measures]
        if len(having) >= 2 or len(regions) == len(having):
            out.append(_train(stores, having, measure, most_rows, on_progress))
            place_trained(stores, out[-1].record, promote=promote, author=author, reason=reason)
    return out


def _check_alike(regions: Sequence[Region]) -> None:
    """Require several regions with the same slots and horizons.

    Raises:
        UsageError: they are not.
    """
    if len(regions) < 2:
        found = ", ".join(region.id for region in regions) or "none"
        raise UsageError(f"--global: expected at least two regions of this home, got {found}", remedy="add one with `ridecast region add`")
    first = regions[0]
    for region in regions[1:]:
        if (region.slot_min, region.horizons_min) != (first.slot_min, first.horizons_min):
            raise UsageError(
                f"--global: expected regions with the same slots and horizons, got {first.slot_min} min and {first.horizons_min} in "
                f"{first.id}, {region.slot_min} min and {region.horizons_min} in {region.id}",
                remedy="name regions that are alike with --region",
            )


def _train(
    stores: Stores, having: Sequence[tuple[RegionBootstrapped, Region, Head]], measure: str, most_rows: int, on_progress: OnProgress
) -> Trained:
    control = ControlView(stores.ledger).latest()
    untils = [next_slot(stores, boot, head.size) for boot, _, head in having]
    version = min(control.fold_version(boot, until) for (boot, _, _), until in zip(having, untils, strict=True))
    table, samples = newest_table(version), []
    for (boot, region, head), until in zip(having, untils, strict=True):
        slots = known_slots(stores, region, boot, region.measures.index(measure), head.size)
        share = most_rows // len(having)
        covariates = Covariates()
        covariates.follow(control.covariates_of(region.id))
        samples.append(
            sample_history(
                region,
                slots,
                boot.first_slot,
                until,
                table=table,
                most_rows=share,
                covariates=covariates,
                on_progress=on_progress,
            )
        )
    sample = pooled(samples)
    # The last bit of a tree of the first table depends on how many threads trained it; the record includes their number.
    model = fit_sampled(sample, threads=max(1, os.cpu_count() or 1), on_progress=on_progress)
    named = {
        REGIONS: ",".join(region.id for _, region, _ in having),
        SIZES: ",".join(str(head.size) for _, _, head in having),
        SLOT_MIN: str(having[0][1].slot_min),
    }
    model = replace(model, parameters=model.parameters | named)
    trained_on = [head for _, _, head in having]
    record = record_training(stores, GLOBAL_SCOPE, measure, model, trained_on, stores.ledger.head(CONTROL_LOG).size)
    return Trained(record, model)
