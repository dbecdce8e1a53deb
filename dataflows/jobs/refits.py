"""Finds out from the ledger whether a challenger is a refit of the champion."""

import logging

from dataflows.stream.stores import Stores
from ledger.views.model_story import MeasureStory
from schemas.errors import LedgerError, NotFound
from schemas.records.records import Cause, ModelRejected, ModelTrained, region_log
from state.decide.refits import Refit, RefitRules, chain_of, more_days, why_no_refit

log = logging.getLogger(__name__)


def refit_of(stores: Stores, story: MeasureStory, day_slots: int, rules: RefitRules) -> Refit | None:
    """The challenger of a story as a refit of its champion; None if it is not one.

    Both trainings must have read the region's log of now: the roots that they recorded are compared with it.
    """
    champion, challenger = (story.models[model].trained if model in story.models else None for model in (story.champion, story.challenger))
    why = why_no_refit(champion, challenger, day_slots, rules)
    if not why and champion is not None and challenger is not None:
        if all(_read_this_log(stores, trained) for trained in (champion, challenger)):
            chain = chain_of(story.champion, [record for _, record in story.promotions])
            return Refit(more_days(champion, challenger, day_slots), chain)
        why = "they were not trained on the log of now"
    log.debug("region %s, %s: %s is no refit: %s", story.region, story.measure, story.challenger.hex()[:12], why)
    return None


def watched_by(story: MeasureStory) -> tuple[bytes, bytes]:
    """What is compared with a champion that the gates promoted: the champion before, and the anchor of its row of refits.

    Empty for none. Refits that are each a little worse, by less than a trial can show, are together worse than the anchor for certain.
    """
    if not story.promotions or story.promotions[-1][1].cause != Cause.GATES:
        return b"", b""
    anchor = chain_of(story.champion, [record for _, record in story.promotions]).anchor
    apart = anchor not in (story.champion, story.previous) and anchor in story.models
    rejected = apart and isinstance(story.models[anchor].last, ModelRejected)
    return story.previous, anchor if apart and not rejected else b""


def _read_this_log(stores: Stores, trained: ModelTrained) -> bool:
    """Whether the region's log had, at the size that a training recorded, the root that it recorded."""
    size = trained.parameters.get("log_size", "")
    if not size.isascii() or not size.isdigit() or len(trained.trained_on) != 1:
        return False
    name = region_log(trained.region)
    try:
        return int(size) <= stores.ledger.head(name).size and stores.ledger.root_at(name, int(size)) == trained.trained_on[0]
    except (NotFound, LedgerError):
        return False
