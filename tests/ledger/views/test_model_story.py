"""Stories of models: what each is after any control log, against a reference that looks the log through again for every question."""

from hypothesis import given, strategies as st

from ledger.store.log import Stored
from ledger.views.model_story import Standing, tell
from schemas.records.record_codec import encode
from schemas.records.records import ModelHeld, ModelPromoted, ModelRejected, ModelReleased, ModelTrained, Record
from tests.ledger.trainings import trained

MODELS = [bytes([number]) * 32 for number in (1, 2, 3)]


def promoted(model: bytes) -> ModelPromoted:
    """A promotion."""
    return ModelPromoted(region="nyc", measure="pickups", model=model, alias="champion", reason="a test")


def rejected(model: bytes) -> ModelRejected:
    """A rejection."""
    return ModelRejected(region="nyc", measure="pickups", model=model, author="a", reason="a test")


HELD = ModelHeld(region="nyc", measure="pickups", author="a", reason="a test")
RELEASED = ModelReleased(region="nyc", measure="pickups", author="a", reason="a test")
RECORDS = st.one_of(
    st.sampled_from(MODELS).map(trained),
    st.sampled_from(MODELS).map(promoted),
    st.sampled_from(MODELS).map(rejected),
    st.just(HELD),
    st.just(RELEASED),
)


def stored(records: list[Record]) -> list[Stored[Record]]:
    """The records as a log of them."""
    return [Stored("control", index, type(record).__name__, None, "pickups", encode(record)) for index, record in enumerate(records)]


def champion_of(records: list[Record]) -> bytes:
    """The last model that was promoted."""
    return next((record.model for record in reversed(records) if isinstance(record, ModelPromoted)), b"")


def challenger_of(records: list[Record]) -> bytes:
    """The last model that was trained while it was not champion, unless it was promoted or rejected since."""
    for at in reversed(range(len(records))):
        record = records[at]
        if isinstance(record, ModelTrained) and record.model != champion_of(records[:at]):
            later = [other for other in records[at:] if isinstance(other, ModelPromoted | ModelRejected)]
            return b"" if any(other.model == record.model for other in later) else record.model
    return b""


@given(st.lists(RECORDS, max_size=12))
def test_any_log_tells_the_same_as_the_reference(records: list[Record]) -> None:
    """Champion, challenger and hold are those of the reference, and every model has exactly one standing."""
    stories = tell(stored(records))
    assert bool(records) == bool(stories)
    for story in stories.values():
        assert champion_of(records) == story.champion
        assert challenger_of(records) == story.challenger
        held = [record for record in records if isinstance(record, ModelHeld | ModelReleased)]
        assert (story.held is not None) == bool(held and isinstance(held[-1], ModelHeld))
        named = {record.model for record in records if isinstance(record, ModelTrained | ModelPromoted | ModelRejected)}
        assert named == set(story.models)
        assert [story.champion] * bool(story.champion) == [m.model for m in story.models.values() if m.standing is Standing.CHAMPION]
        assert not story.previous or story.previous != story.champion


def test_the_champion_before_is_kept_for_a_rollback() -> None:
    """Promoting the same model twice keeps the one before; after it is rejected there is none."""
    one, two, _ = MODELS
    [story] = tell(stored([promoted(one), promoted(two), promoted(two)])).values()
    assert (two, one, Standing.PREVIOUS) == (story.champion, story.previous, story.models[one].standing)
    [story] = tell(stored([promoted(one), promoted(two), rejected(one)])).values()
    assert (b"", Standing.REJECTED) == (story.previous, story.models[one].standing)
    [story] = tell(stored([promoted(one), promoted(two), promoted(one), rejected(two)])).values()
    assert (one, b"") == (story.champion, story.previous)
