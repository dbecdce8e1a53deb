"""Promotes, rejects, rolls back and holds models: appends to the control log, and lets MLflow's aliases follow."""

import logging
from collections.abc import Sequence

from dataflows.connectors.tracking import track_aliases
from dataflows.stream.stores import Stores
from ledger.views.append import append_shared
from ledger.views.model_story import MeasureStory, Stories, named, stories_of
from ledger.views.regions import bootstrap_of, defined_by, regions_of
from schemas.errors import LedgerError, NotFound, StoreUnavailable, UsageError
from schemas.records.records import CONTROL_LOG, Cause, GateResult, ModelHeld, ModelPromoted, ModelRejected, ModelReleased
from state.forecast.routes import GLOBAL_SCOPE

log = logging.getLogger(__name__)

CHAMPION = "champion"
OPERATOR = "operator"  # who uses the command line; no person's name enters the ledger
POLICY = "ridecast"  # what decides by itself

Evidence = Sequence[GateResult]


def promote_model(stores: Stores, digits: str, *, author: str = OPERATOR, reason: str = "by command") -> ModelPromoted:
    """Promote the model with these first digits of its digest, whatever it was before; it serves from the next close on.

    Raises:
        NotFound, UsageError: as `named`; or its artefact is missing.
        UsageError: it is the champion already.
    """
    stores.ledger.admit_all()
    story, model = named(stories_of(stores.ledger), digits)
    if model.model == story.champion:
        raise UsageError(f"model {model.model.hex()[:12]} is the champion of {story.region} {story.measure} already")
    return record_promotion(stores, story, model.model, Cause.COMMAND, author=author, reason=reason)


def record_promotion(
    stores: Stores, story: MeasureStory, model: bytes, cause: Cause, *, author: str, reason: str, evidence: Evidence = ()
) -> ModelPromoted:
    """Append a promotion.

    Raises:
        NotFound: the artefact is missing, so that the region would be held at its next close.
    """
    if model and not stores.blobs.has(model):
        raise NotFound(f"model {model.hex()}: its artefact is missing", remedy="train it again with `ridecast train`")
    record = ModelPromoted(
        region=story.region,
        measure=story.measure,
        model=model,
        alias=CHAMPION,
        reason=reason,
        author=author,
        cause=cause,
        replaced=story.champion,
        evidence=tuple(evidence),
    )
    append_shared(stores.ledger, CONTROL_LOG, record)
    follow_ledger(stores, story.region, story.measure)
    return record


def reject_model(stores: Stores, story: MeasureStory, model: bytes, *, author: str, reason: str, evidence: Evidence = ()) -> ModelRejected:
    """Append a rejection."""
    record = ModelRejected(region=story.region, measure=story.measure, model=model, author=author, reason=reason, evidence=tuple(evidence))
    append_shared(stores.ledger, CONTROL_LOG, record)
    follow_ledger(stores, story.region, story.measure)
    return record


def roll_back(
    stores: Stores,
    region: str,
    measure: str,
    *,
    author: str = OPERATOR,
    reason: str = "by command",
    cause: Cause = Cause.ROLLBACK,
    evidence: Evidence = (),
) -> ModelPromoted:
    """Promote the champion before this one again, and reject this one, so that it is not promoted again by itself.

    Raises:
        UsageError: there was no champion before, or it was rejected.
        NotFound: its artefact is missing.
    """
    stores.ledger.admit_all()
    story = story_of(stores, region, measure)
    if not story.previous:
        raise UsageError(f"region {region}, {measure}: expected a champion before the present one, found none to go back to")
    worse = story.champion
    promoted = record_promotion(stores, story, story.previous, cause, author=author, reason=reason, evidence=evidence)
    reject_model(stores, story, worse, author=author, reason=f"rolled back: {reason}", evidence=evidence)
    return promoted


def hold_models(stores: Stores, region: str, measure: str, *, author: str = OPERATOR, reason: str = "by command") -> ModelHeld | None:
    """Let nothing but a command promote or roll back a measure's models; returns the hold that is in force already, or None."""
    stores.ledger.admit_all()
    held = story_of(stores, region, measure).held
    if held is None:
        append_shared(stores.ledger, CONTROL_LOG, ModelHeld(region=region, measure=measure, author=author, reason=reason))
    return held


def release_models(stores: Stores, region: str, measure: str, *, author: str = OPERATOR, reason: str = "by command") -> ModelHeld | None:
    """End a hold; returns it, or None if there is none."""
    stores.ledger.admit_all()
    held = story_of(stores, region, measure).held
    if held is not None:
        append_shared(stores.ledger, CONTROL_LOG, ModelReleased(region=region, measure=measure, author=author, reason=reason))
    return held


def story_of(stores: Stores, region: str, measure: str) -> MeasureStory:
    """The models of a region and measure, none yet if none was trained.

    Raises:
        NotFound: the region is not bootstrapped here.
        UsageError: it has no such measure.
    """
    found = stories_of(stores.ledger)
    if region != GLOBAL_SCOPE:
        known = defined_by(bootstrap_of(stores.ledger, region)).measures
        if measure not in known:
            raise UsageError(f"--measure: expected one of {', '.join(known)} of region {region}, got {measure!r}")
    return found.get((region, measure), MeasureStory(region, measure))


def measures_of(stores: Stores, region: str | None, measure: str | None) -> tuple[str, list[str]]:
    """The region that is meant, the only one by default, and its measures that are meant, all by default."""
    from dataflows.jobs.learn import only_region

    name = region or only_region(stores)
    if name == GLOBAL_SCOPE:
        known = [of for scope, of in stories_of(stores.ledger) if scope == GLOBAL_SCOPE]
    else:
        known = list(defined_by(bootstrap_of(stores.ledger, name)).measures)
    return name, known if measure is None else [measure]


def follow_ledger(stores: Stores, region: str, measure: str) -> None:
    """Let the aliases in MLflow name the champion and the challenger of the ledger.

    What was decided is recorded and in force already, so a tracking server that is away, or has models of another ledger, is
    reported; the next change of this region's models sets the aliases.
    """
    story = stories_of(stores.ledger).get((region, measure))
    if story is None:
        return
    aliases = {"champion": story.champion, "challenger": story.challenger}
    try:
        track_aliases(stores.settings, region, measure, aliases, ledger=stores.ledger)
    except (StoreUnavailable, LedgerError) as failed:
        log.warning("region %s, %s: recorded in the ledger, but its aliases in MLflow are not set: %s", region, measure, failed)


def all_stories(stores: Stores) -> Stories:
    """Every region and measure of a home, also those without a model; and the models of several regions."""
    found = stories_of(stores.ledger)
    everything: Stories = {}
    for region in regions_of(stores.ledger):
        for measure in defined_by(bootstrap_of(stores.ledger, region)).measures:
            everything[region, measure] = found.get((region, measure), MeasureStory(region, measure))
    return everything | {place: story for place, story in found.items() if place[0] == GLOBAL_SCOPE}
