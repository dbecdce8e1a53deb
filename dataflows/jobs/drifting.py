"""What drifts in a region since its newest training, from the scores and the bands of its log."""

from collections.abc import Sequence

from dataflows.jobs.band_parts import BandParts
from ledger.views.model_story import MeasureStory
from schemas.records.records import SlotScored
from state.decide.band_drift import drifts_in_bands
from state.decide.drift import PARTS, drifts_in, first_part
from state.decide.retraining import Trigger


def drift_since(
    stories: Sequence[MeasureStory], scores: Sequence[SlotScored], bands: BandParts, day_slots: int, from_slot: int, today: int
) -> list[str]:
    """What drifts since the newest training, compared with days since the last training that a drift caused; one sentence each.

    Args:
        stories: Of every measure of the region.
        scores: Of slots from `from_slot` on.
        today: Number of the day that has just begun.
    """
    found = []
    for story in stories:
        known = [model.trained for model in story.models.values() if model.trained is not None]
        answered = [trained.until_slot for trained in known if trained.parameters.get("trigger", "").startswith(f"{Trigger.DRIFT}:")]
        of_measure = [scored for scored in scores if scored.measure == story.measure]
        since = max([from_slot, *answered])
        drifts = drifts_in(of_measure, day_slots, since, today)
        if day_slots % PARTS == 0:
            first = first_part(day_slots, since)
            drifts += drifts_in_bands(bands.sums(story.measure, first, today * day_slots), first)
        newest = max((trained.until_slot for trained in known), default=0) * PARTS // day_slots
        found += [f"{story.measure}: {drift.sentence()}" for drift in drifts if drift.part >= newest]
    return found
