"""What the control log says of every model: champion, challenger, replaced or rejected, and who holds what."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from ledger.store.log import Ledger, Stored, holds
from schemas.errors import NotFound, UsageError
from schemas.records.records import CONTROL_LOG, ModelHeld, ModelPromoted, ModelRejected, ModelReleased, ModelTrained

KINDS = (ModelTrained, ModelPromoted, ModelRejected, ModelHeld, ModelReleased)
LEAST_DIGITS = 4  # of a digest, to name a model


class Standing(StrEnum):
    """What a model is at the end of the log."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"  # the newest training, if it was neither promoted nor rejected since
    PREVIOUS = "previous"  # the champion before, which a rollback brings back
    REJECTED = "rejected"
    REPLACED = "replaced"  # an earlier champion, or a challenger that a newer training replaced


@dataclass(slots=True)
class ModelStory:
    """One model of a region and measure.

    Attributes:
        trained, trained_index: Its last training and where it is recorded; None and -1 if it was promoted without one.
        last: The last promotion or rejection of it, None for none.
    """

    model: bytes
    trained: ModelTrained | None = None
    trained_index: int = -1
    last: ModelPromoted | ModelRejected | None = None
    standing: Standing = Standing.REPLACED


@dataclass(slots=True)
class MeasureStory:
    """Every model of a region and measure, in the order in which the log first names them.

    Attributes:
        champion, previous: Digests; empty for the baseline.
        challenger: Empty for none.
        held: Set while nothing is promoted or rolled back but by command.
        promotions: Every promotion with its index, in order.
    """

    region: str
    measure: str
    models: dict[bytes, ModelStory] = field(default_factory=dict)
    champion: bytes = b""
    previous: bytes = b""
    challenger: bytes = b""
    held: ModelHeld | None = None
    promotions: list[tuple[int, ModelPromoted]] = field(default_factory=list)
    rejections: list[tuple[int, ModelRejected]] = field(default_factory=list)

    def standing(self, model: bytes) -> Standing:
        """What a model of this story is."""
        if model == self.champion:
            return Standing.CHAMPION
        if model == self.challenger:
            return Standing.CHALLENGER
        if isinstance(self.models[model].last, ModelRejected):
            return Standing.REJECTED
        return Standing.PREVIOUS if model == self.previous else Standing.REPLACED


Stories = dict[tuple[str, str], MeasureStory]


def stories_of(ledger: Ledger, control_size: int | None = None) -> Stories:
    """(region, measure) -> its models, when the control log had a size; the log as it is now by default."""
    size = ledger.head(CONTROL_LOG).size if control_size is None else control_size
    return tell(ledger.read_kinds(CONTROL_LOG, 0, size, KINDS))


def tell(entries: Iterable[Stored]) -> Stories:  # type: ignore[type-arg]  # of any of these kinds
    """Fold control records into stories."""
    stories: Stories = {}
    for stored in entries:
        record = stored.record
        story = stories.setdefault((record.region, record.measure), MeasureStory(record.region, record.measure))
        if holds(stored, ModelTrained):
            _of(story, record.model).trained = record
            _of(story, record.model).trained_index = stored.index
            if record.model != story.champion:
                story.challenger = record.model
        elif holds(stored, ModelPromoted):
            story.promotions.append((stored.index, record))
            _of(story, record.model).last = record
            if record.model != story.champion:
                story.previous, story.champion = story.champion, record.model
            if record.model == story.challenger:
                story.challenger = b""
        elif holds(stored, ModelRejected):
            story.rejections.append((stored.index, record))
            _of(story, record.model).last = record
            if record.model == story.challenger:
                story.challenger = b""
            if record.model == story.previous:
                story.previous = b""
        elif holds(stored, ModelHeld):
            story.held = record
        elif holds(stored, ModelReleased):
            story.held = None
    for story in stories.values():
        for model in story.models.values():
            model.standing = story.standing(model.model)
    return stories


def named(stories: Stories, digits: str) -> tuple[MeasureStory, ModelStory]:
    """The one model whose digest begins with these hexadecimal digits.

    Raises:
        UsageError: too few digits, or they name several models.
        NotFound: they name none.
    """
    wanted = digits.lower()
    if len(wanted) < LEAST_DIGITS or not set(wanted) <= set("0123456789abcdef"):
        raise UsageError(f"model {digits!r}: expected at least {LEAST_DIGITS} hexadecimal digits of its digest")
    found = [(story, model) for story in stories.values() for model in story.models.values() if model.model.hex().startswith(wanted)]
    if not found:
        raise NotFound(f"model {digits}: no model of this home has a digest that begins so", remedy="`ridecast models` lists them")
    if len(found) > 1:
        several = ", ".join(f"{model.model.hex()[:12]} ({story.region} {story.measure})" for story, model in found)
        raise UsageError(f"model {digits}: expected the digits of one model, got those of {several}", remedy="give more digits")
    return found[0]


def _of(story: MeasureStory, model: bytes) -> ModelStory:
    return story.models.setdefault(model, ModelStory(model))
