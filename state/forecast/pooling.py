"""The sampled rows of several regions as one sample, for a model that serves regions without one of their own."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from schemas.errors import ContractError
from schemas.events.rides import Float64s, Int64s
from state.forecast.sampling import SampledRows
from state.forecast.training import SampledHistory


def pooled(samples: Sequence[SampledHistory]) -> SampledHistory:
    """One sample of all rows, in which every region has the same weight.

    Regions are counted back from the ends of their histories, so that the newest rows of each are held out and weigh most.

    Raises:
        ContractError: regions have other slots or horizons, or their rows other features.
    """
    first = samples[0]
    if any((each.day_slots, each.region.horizons, each.table) != (first.day_slots, first.region.horizons, first.table) for each in samples):
        raise ContractError("pooled samples: expected the same slots, horizons and features in all of them")
    until = max(each.until_slot for each in samples)
    later = [until - each.until_slot for each in samples]
    total = sum(len(each.rows.slots) for each in samples)
    weights = [np.full(len(each.rows.slots), total / (len(samples) * len(each.rows.slots))) for each in samples]
    return replace(
        first,
        rows=_joined([each.rows for each in samples], later),
        quiet=_joined([each.quiet for each in samples], later),
        first_slot=min(each.first_slot + slots for each, slots in zip(samples, later, strict=True)),
        start_slot=min(each.start_slot + slots for each, slots in zip(samples, later, strict=True)),
        until_slot=until,
        most_rows=sum(each.most_rows for each in samples),
        weights=np.asarray(np.concatenate(weights), np.float64),
    )


def _joined(rows: Sequence[SampledRows], later: Sequence[int]) -> SampledRows:
    slots: list[Int64s] = [each.slots + slots for each, slots in zip(rows, later, strict=True)]
    baseline: list[Float64s] = [each.baseline for each in rows]
    return SampledRows(
        slots=np.concatenate(slots),
        truth=np.concatenate([each.truth for each in rows]),
        features=np.concatenate([each.features for each in rows]),
        baseline=np.concatenate(baseline),
        parts=np.concatenate([each.parts for each in rows]),
    )
