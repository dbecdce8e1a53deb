"""Promotes, rejects, rolls back and holds models: appends to the control log, and lets MLflow's aliases follow."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from dataflows.connectors.tracking import track_aliases
from dataflows.stream.stores import Stores
from ledger.views.append import append_decided
from ledger.views.control import ControlView
from ledger.views.model_story import MeasureStory, Stories, named, stories_of
from ledger.views.regions import bootstrap_of, defined_by, halt_of, regions_of
from schemas.errors import DamagedError, LedgerError, NotFound, StoreUnavailable, UsageError
from schemas.records.records import (
    CONTROL_LOG,
    Category,
    Cause,
    GateResult,
    ModelHeld,
    ModelPromoted,
    ModelRejected,
    ModelReleased,
    ModelTrained,
)
from state.decide.parameter_table import models_off
from state.forecast.routes import GLOBAL_SCOPE

log = logging.getLogger(__name__)

CHAMPION = "champion"
OPERATOR = "operator"  # who uses the command line; no person's name enters the ledger
POLICY = "ridecast"  # what decides by itself

Evidence = Sequence[GateResult]
Decision = ModelPromoted | ModelRejected | ModelHeld | ModelReleased


def promote_model(stores: Stores, digits: str, *, author: str = OPERATOR, reason: str = "by command") -> ModelPromoted:
    """Promote the model with these first digits of its digest, whatever it was before; it serves from the next close on.

    Raises:
        NotFound, UsageError: as `named`.
        UsageError: it is the champion already.
        NotFound, DamagedError: its artefact is missing or damaged.
    """
    stores.ledger.admit_all()

    def decide(stories: Stories) -> list[Decision]:
        story, model = named(stories, digits)
        if model.model == story.champion:
            raise UsageError(f"model {model.model.hex()[:12]} is the champion of {story.region} {story.measure} already")
        return [_promotion(stores, story, model.model, Cause.COMMAND, author, reason)]

    return _promoted(_record(stores, decide))


def place_trained(stores: Stores, trained: ModelTrained, *, promote: bool, author: str, reason: str) -> None:
    """Promote a model that was just trained, also if it is the champion already; or leave it the challenger, and tell MLflow.

    Raises:
        NotFound, DamagedError: the artefact is missing or damaged, so that the region would be held at its next close.
    """
    region, measure = trained.region, trained.measure
    if not promote:
        follow_ledger(stores, region, measure)
        return

    def decide(stories: Stories) -> list[Decision]:
        return [_promotion(stores, stories[region, measure], trained.model, Cause.COMMAND, author, reason)]

    _record(stores, decide)


def promote_by_gates(
    stores: Stores, story: MeasureStory, *, reason: str, evidence: Evidence, category: Category = Category.IMPROVEMENT
) -> bool:
    """Promote the challenger of a story that was judged; returns whether: not if somebody decided otherwise meanwhile."""

    def decide(stories: Stories) -> list[Decision]:
        if not _same(now := _story_in(stories, story), story):
            return []
        return [_promotion(stores, now, story.challenger, Cause.GATES, POLICY, reason, evidence, category)]

    return bool(_record(stores, decide))


def reject_by_gates(
    stores: Stores, story: MeasureStory, *, reason: str, evidence: Evidence, category: Category = Category.IMPROVEMENT
) -> bool:
    """Reject the challenger of a story that was judged; returns whether: not if somebody decided otherwise meanwhile."""

    def decide(stories: Stories) -> list[Decision]:
        rejected = _rejection(story, story.challenger, POLICY, reason, evidence, category)
        return [rejected] if _same(_story_in(stories, story), story) else []

    return bool(_record(stores, decide))


def confirm_by_gates(stores: Stores, story: MeasureStory, *, reason: str, evidence: Evidence) -> bool:
    """Record that the champion, a refit on probation, stays; returns whether: not if somebody decided otherwise meanwhile.

    The record is a promotion of the model that serves, so that every reader obeys it by changing nothing.
    """

    def decide(stories: Stories) -> list[Decision]:
        if not _same(now := _story_in(stories, story), story):
            return []
        confirmed = _promotion(stores, now, now.champion, Cause.GATES, POLICY, reason, evidence, Category.REFIT)
        return [replace(confirmed, replaced=now.previous)]

    return bool(_record(stores, decide))


def roll_back_by_gates(stores: Stores, story: MeasureStory, model: bytes, *, reason: str, evidence: Evidence) -> bool:
    """Let a champion from before serve again; returns whether: not if somebody decided otherwise since the story was judged."""

    def decide(stories: Stories) -> list[Decision]:
        now = _story_in(stories, story)
        return _rollback(stores, now, model, POLICY, reason, evidence) if _same(now, story) else []

    return bool(_record(stores, decide))


def roll_back(stores: Stores, region: str, measure: str, *, author: str = OPERATOR, reason: str = "by command") -> ModelPromoted:
    """Promote the champion before this one again, and reject this one, so that it is not promoted again by itself.

    Raises:
        UsageError: there was no champion before, or it was rejected.
        NotFound, DamagedError: its artefact is missing or damaged.
    """
    stores.ledger.admit_all()
    known = story_of(stores, region, measure)
    champion: list[bytes] = []  # the one that is meant: after another rollback at the same time, nothing is left to do

    def decide(stories: Stories) -> list[Decision]:
        story = _story_in(stories, known)
        champion.append(story.champion)
        if not story.previous or story.champion != champion[0]:
            raise UsageError(f"region {region}, {measure}: expected a champion before the present one, found none to go back to")
        return _rollback(stores, story, story.previous, author, reason)

    return _promoted(_record(stores, decide))


def hold_models(stores: Stores, region: str, measure: str, *, author: str = OPERATOR, reason: str = "by command") -> ModelHeld | None:
    """Let nothing but a command promote or roll back a measure's models; returns the hold that is in force already, or None."""
    return _change_hold(stores, ModelHeld(region=region, measure=measure, author=author, reason=reason))


def release_models(stores: Stores, region: str, measure: str, *, author: str = OPERATOR, reason: str = "by command") -> ModelHeld | None:
    """End a hold; returns it, or None if there is none."""
    return _change_hold(stores, ModelReleased(region=region, measure=measure, author=author, reason=reason))


def _change_hold(stores: Stores, change: ModelHeld | ModelReleased) -> ModelHeld | None:
    """Append a hold where there is none, or a release where there is one; returns the hold of before."""
    stores.ledger.admit_all()
    known = story_of(stores, change.region, change.measure)
    found: list[ModelHeld | None] = []

    def decide(stories: Stories) -> list[Decision]:
        found.append(_story_in(stories, known).held)
        return [change] if (found[-1] is None) == isinstance(change, ModelHeld) else []

    _record(stores, decide)
    return found[-1]


def _record(stores: Stores, decide: Callable[[Stories], list[Decision]]) -> list[Decision]:
    """Append what follows from the stories of the control log, and let MLflow's aliases follow; returns it."""
    made: list[Decision] = []

    def at_size(size: int) -> list[Decision]:
        made[:] = decide(stories_of(stores.ledger, size))
        return made

    append_decided(stores.ledger, CONTROL_LOG, at_size)
    changed = {(record.region, record.measure) for record in made if isinstance(record, ModelPromoted | ModelRejected)}
    for region, measure in sorted(changed):
        follow_ledger(stores, region, measure)
    return made


def _promotion(
    stores: Stores, story: MeasureStory, model: bytes, cause: Cause, author: str, reason: str, evidence: Evidence = (), category: str = ""
) -> ModelPromoted:
    check_artefact(stores, model)
    return ModelPromoted(
        region=story.region,
        measure=story.measure,
        model=model,
        alias=CHAMPION,
        reason=reason,
        author=author,
        cause=cause,
        replaced=story.champion,
        evidence=tuple(evidence),
        category=category,
    )


def _rejection(story: MeasureStory, model: bytes, author: str, reason: str, evidence: Evidence = (), category: str = "") -> ModelRejected:
    return ModelRejected(
        region=story.region,
        measure=story.measure,
        model=model,
        author=author,
        reason=reason,
        evidence=tuple(evidence),
        category=category,
    )


def _rollback(stores: Stores, story: MeasureStory, model: bytes, author: str, reason: str, evidence: Evidence = ()) -> list[Decision]:
    """Both records of a rollback; one without the other would let a second rollback bring the rejected model back."""
    promoted = _promotion(stores, story, model, Cause.ROLLBACK, author, reason, evidence)
    return [promoted, _rejection(story, story.champion, author, f"rolled back: {reason}", evidence)]


def check_artefact(stores: Stores, model: bytes) -> None:
    """Require that the bytes of a model are stored and have its digest.

    Raises:
        NotFound: they are missing.
        DamagedError: they do not have its digest.
    """
    if not model:
        return
    remedy = "train it again with `ridecast train`"
    try:
        stores.blobs.get(model)
    except NotFound as cause:
        raise NotFound(f"model {model.hex()}: its artefact is missing", remedy=remedy) from cause
    except DamagedError as cause:
        raise DamagedError(f"model {model.hex()}: its artefact is damaged: {cause}", remedy=remedy) from cause


def _promoted(made: list[Decision]) -> ModelPromoted:
    [promoted] = [record for record in made if isinstance(record, ModelPromoted)]
    return promoted


def _story_in(stories: Stories, known: MeasureStory) -> MeasureStory:
    return stories.get((known.region, known.measure)) or MeasureStory(known.region, known.measure)


def _same(now: MeasureStory, judged: MeasureStory) -> bool:
    """Whether what a judgement is about is as it was."""
    return now.held is None and (now.champion, now.challenger, now.previous) == (judged.champion, judged.challenger, judged.previous)


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


def hindrance(stores: Stores, region: str) -> str:
    """Why a region does not serve its champion now, in one sentence; empty if nothing hinders it."""
    if (halted := halt_of(stores.ledger, region)) is not None:
        return f"region {region} is halted, and closes no slot: {halted.reason}"
    control = ControlView(stores.ledger).latest()
    held = control.held.get(region)
    if held is None:
        off = models_off(control.parameters, region)
        return f"region {region} is served without trained models, by the parameter trained_models" if off else ""
    said = f"region {region} is held since slot {held.slot}, and served by the baseline until `ridecast ledger release`"
    return f"{said}: {held.reason}"


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
