"""Finds out from the ledger whether a challenger is a refit of the champion, and ends the probation of a refit."""

import logging

from dataflows.jobs.promoting import confirm_by_gates, roll_back_by_gates
from dataflows.stream.stores import Stores
from ledger.views.model_story import MeasureStory
from schemas.errors import LedgerError, NotFound
from schemas.records.records import Cause, ModelRejected, ModelTrained, region_log
from state.decide.probation import chain_before, is_confirmation, probation_of
from state.decide.promotion import Outcome, Verdict
from state.decide.refits import Chain, Refit, RefitRules, chain_of, more_days, why_no_refit

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


def on_probation(story: MeasureStory) -> Chain | None:
    """The row of refits before the champion of a story if it serves on probation; None if it does not."""
    promotions = [record for _, record in story.promotions]
    probation = probation_of(story.champion, promotions)
    return chain_before(probation, promotions) if probation is not None else None


def promotions_since(story: MeasureStory, index: int) -> int:
    """How many promotions by the gates the control log has from an index on; that a refit stays is none."""
    return sum(at >= index and record.cause == Cause.GATES and not is_confirmation(record) for at, record in story.promotions)


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


def end_probation(stores: Stores, story: MeasureStory, before: bytes, verdict: Verdict) -> None:
    """Record what a verdict says of the champion, a refit on probation: that it stays, or that the champion before serves again."""
    where, reason = f"region {story.region}, {story.measure}", verdict.reason
    if verdict.outcome is Outcome.PROMOTE:
        if confirm_by_gates(stores, story, reason=reason, evidence=verdict.gates):
            log.info("%s: confirmed %s: %s", where, story.champion.hex()[:12], reason)
    elif verdict.outcome is Outcome.REJECT and roll_back_by_gates(stores, story, before, reason=reason, evidence=verdict.gates):
        log.warning("%s: rolled back to %s: %s", where, before.hex()[:12], reason)
