"""The fold of a region: counts, scores, forecasts and learning of every close, and restored folds equal uninterrupted ones."""

import dataclasses
import io
from collections.abc import Iterable, Mapping

import numpy as np
import pytest

from schemas.errors import ContractError
from schemas.records.records import FALLBACKS, PartitionCut, PartitionsChanged, SlotStatus, SourceChanged, UniverseChanged
from state.counting.slots import NO_COUNTS, ClosedSlot, CountColumns, Finding, GapFound, HorizonFound
from state.demand.features import NAMES, build
from state.forecast.region import FOLD_VERSION, Arrays, Champion, RegionFold, SlotOutcome, champions_of
from state.forecast.sampling import KnownSlot
from state.models.table import MODELS, ModelTable
from tests.differences import assert_same
from tests.state.model_city import CELLS, FIRST_SLOT, HOURLY, town_model, town_slots

UNCORRECTED = ModelTable(means=MODELS.means, correctors=())  # what corrections have learned stays when a model goes
WARM = 400  # slots of history before the first live one
TWO_MEASURES = dataclasses.replace(HOURLY, measures=("requests", "pickups"))


def champion() -> Mapping[str, Champion]:
    """The town's model in force."""
    return {"pickups": Champion(bytes(range(32)), town_model().artefact)}


def cut(partition: int = 0, *, excused: bool = False) -> PartitionCut:
    """The cut of one partition; the fold uses only the excuse."""
    return PartitionCut(
        partition=partition, cut=0, largest_us=-1, open_from=0, excused=excused, received=0, accepted=0, duplicate=0, counted=0
    )


def counted(known: KnownSlot) -> CountColumns:
    """The counts of a slot."""
    return CountColumns(np.full(len(known.cells), known.slot), known.cells, known.counts)


def closed(known: KnownSlot, **changes: object) -> ClosedSlot:
    """A slot of the town as the fold receives it."""
    late = CountColumns(known.late_slots, known.late_cells, known.late_counts)
    slot = ClosedSlot(known.slot, (cut(),), (counted(known),), (late if len(late) else NO_COUNTS,))
    return dataclasses.replace(slot, **changes)  # type: ignore[arg-type]  # fields by name


def warm(slots: Iterable[KnownSlot], version: int = FOLD_VERSION, models: ModelTable = MODELS) -> RegionFold:
    """A fold that remembers these slots and continues after them."""
    slots = list(slots)
    fold = RegionFold(HOURLY, slots[-1].slot + 1, version, models)
    fold.remember((known.slot, (counted(known),)) for known in slots)
    return fold


def said(outcome: SlotOutcome) -> tuple[object, ...]:
    """The whole content of an outcome, in a form that compares bit by bit."""
    [issue] = outcome.issues
    names = ("cells", "mean", "median", "lower", "upper", "dispersion", "baseline", "fallback")
    columns = tuple(getattr(issue.draft.columns, name).tobytes() for name in names)
    rest = (issue.model, issue.draft.features_digest, issue.draft.spread, issue.draft.fallbacks, issue.draft.weights_milli)
    return (outcome.status, outcome.universe, outcome.universe_version, outcome.scores, outcome.digested, *columns, *rest)


def kept(arrays: Arrays) -> Arrays:
    """Arrays as a snapshot gives them back."""
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    out.seek(0)
    with np.load(out, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


# --- what a close says -----------------------------------------------------------------------------------


def test_closes_become_counts() -> None:
    """After any closes every cell and slot holds its counts and the corrections that came, and nothing else."""
    slots = town_slots(WARM + 60, late=True)
    fold = warm(dataclasses.replace(known, late_slots=NO_COUNTS.slots) for known in slots[:WARM])
    plain: dict[tuple[int, int], int] = {}
    for known in slots:
        for cell, rides in zip(known.cells.tolist(), known.counts.tolist(), strict=True):
            plain[known.slot, cell] = plain.get((known.slot, cell), 0) + rides
    for known in slots[WARM:]:
        fold.apply(closed(known))
        for slot, cell, rides in zip(known.late_slots.tolist(), known.late_cells.tolist(), known.late_counts.tolist(), strict=True):
            plain[slot, cell] = plain.get((slot, cell), 0) + rides
    [history] = fold.histories
    for slot in range(FIRST_SLOT, FIRST_SLOT + WARM + 60):
        rides = [plain.get((slot, cell), 0) for cell in history.cells.tolist()]
        assert rides == history.window(slot, slot + 1).tolist()


def test_forecasts_are_for_the_recorded_universe_and_meet_their_truth() -> None:
    """Every issue forecasts the cells that the universe's changes add up to, and each window is scored at its end and when it settles."""
    fold = warm(town_slots(WARM))
    fold.use(champion())
    universe: set[int] = set()
    version, scored = 0, []
    for known in town_slots(WARM + 30)[WARM:]:
        outcome = fold.apply(closed(known))
        if outcome.universe is not None:
            version += 1
            assert (version, HOURLY.id, known.slot) == (outcome.universe.version, outcome.universe.region, outcome.universe.slot)
            universe = (universe | set(np.cumsum(outcome.universe.added).tolist())) - set(np.cumsum(outcome.universe.retired).tolist())
            assert outcome.universe.cells == len(universe)
        [issue] = outcome.issues
        assert sorted(universe) == issue.draft.columns.cells.tolist()
        assert version == outcome.universe_version
        assert bytes(range(32)) == issue.model
        scored += [(score.slot - known.slot, score.settled, [row.horizon_min for row in score.rows]) for score in outcome.scores]
    assert [60, 120, 180] == scored[-2][2]
    assert {(0, False), (-2, True)} == {found[:2] for found in scored}
    assert 29 == sum(not settled for _, settled, _ in scored)


def test_what_came_true_is_learned() -> None:
    """Where demand has doubled, a fold that lived through it forecasts more than one that knows the same counts and learned nothing."""
    slots = [dataclasses.replace(known, counts=known.counts * (1 + (i >= WARM))) for i, known in enumerate(town_slots(WARM + 41))]
    fold = warm(slots[:WARM])
    fold.use(champion())
    for known in slots[WARM:-1]:
        fold.apply(closed(known))
    fresh = RegionFold(HOURLY, FIRST_SLOT).to_arrays()
    unlearned = RegionFold(HOURLY, FIRST_SLOT)
    without = {name: array for name, array in fresh.items() if ".regional_" in name or ".local_" in name}
    unlearned.from_arrays(fold.to_arrays() | without, champion())
    [issue], [plain] = (one.apply(closed(slots[-1])).issues for one in (fold, unlearned))
    assert issue.draft.weights_milli["online_weight_milli"] > 0
    assert plain.draft.columns.mean.sum() < issue.draft.columns.mean.sum()


@pytest.mark.parametrize(("version", "models"), [(5, MODELS), (6, UNCORRECTED)])
def test_another_champion_serves_from_the_next_slot_on(version: int, models: ModelTable) -> None:
    """The model that is in force is named by every issue, and none of it remains when it is gone, but in what follows all models."""
    slots = town_slots(WARM + 4)
    fold, plain = (warm(slots[:WARM], version, models) for _ in range(2))
    drafts = []
    for known, champions in zip(slots[WARM:], ({}, champion(), champion(), {}), strict=True):
        fold.use(champions)
        [issue] = fold.apply(closed(known)).issues
        [baseline] = plain.apply(closed(known)).issues
        drafts.append((issue.model, issue.draft.columns.mean.tobytes() == baseline.draft.columns.mean.tobytes()))
    named = bytes(range(32))
    assert [(b"", True), (named, False), (named, False), (b"", True)] == drafts


def test_state_is_digested_on_the_hour() -> None:
    """With slots of half an hour every second close has a digest, which names its slot."""
    region = dataclasses.replace(HOURLY, slot_min=30)
    fold = RegionFold(region, 1_001)
    digested = [fold.apply(ClosedSlot(slot, (cut(),), (NO_COUNTS,), (NO_COUNTS,))).digested for slot in range(1_001, 1_005)]
    assert [1_001, None, 1_003, None] == [found.slot if found else None for found in digested]


def test_a_slot_that_does_not_follow_is_refused() -> None:
    """A skipped or repeated slot raises ContractError."""
    fold = warm(town_slots(10))
    for slot in (FIRST_SLOT + 9, FIRST_SLOT + 11):
        with pytest.raises(ContractError, match=rf"region town: expected slot {FIRST_SLOT + 10}, got {slot}"):
            fold.apply(ClosedSlot(slot, (cut(),), (NO_COUNTS,), (NO_COUNTS,)))


def test_measures_have_their_own_counts_and_one_universe() -> None:
    """Each measure counts and forecasts for itself; the universe holds the cells of either."""
    fold = RegionFold(TWO_MEASURES, 0)
    one, other = CountColumns(np.array([0]), CELLS[:1], np.array([3])), CountColumns(np.array([0]), CELLS[4:5], np.array([5]))
    outcome = fold.apply(ClosedSlot(0, (cut(),), (one, other), (NO_COUNTS, NO_COUNTS)))
    assert [[3], [5]] == [history.window(0, 1).tolist() for history in fold.histories]
    assert ["requests", "pickups"] == [issue.measure for issue in outcome.issues]
    assert [CELLS[:1].tolist(), CELLS[4:5].tolist()] == [issue.draft.columns.cells.tolist() for issue in outcome.issues]
    first, second = CELLS[:1].tolist()[0], CELLS[4:5].tolist()[0]
    assert UniverseChanged(region=HOURLY.id, slot=0, version=1, cells=2, added=(first, second - first), retired=()) == outcome.universe


def test_corrections_go_to_their_measure() -> None:
    """A late ride of one measure changes the counts of that measure and of no other."""
    fold = RegionFold(TWO_MEASURES, 0)
    one, other = CountColumns(np.array([0]), CELLS[:1], np.array([3])), CountColumns(np.array([0]), CELLS[:1], np.array([5]))
    fold.apply(ClosedSlot(0, (cut(),), (one, other), (NO_COUNTS, NO_COUNTS)))
    late = CountColumns(np.array([0]), CELLS[:1], np.array([2]))
    fold.apply(ClosedSlot(1, (cut(),), (NO_COUNTS, NO_COUNTS), (NO_COUNTS, late)))
    assert [[3], [7]] == [history.window(0, 1).tolist() for history in fold.histories]
    fold.apply(ClosedSlot(2, (cut(),), (NO_COUNTS, NO_COUNTS), (late, NO_COUNTS)))
    assert [[5], [7]] == [history.window(0, 1).tolist() for history in fold.histories]


def test_the_digest_holds_universe_and_version() -> None:
    """A snapshot with another universe, or another version of it, has another digest of its integers."""
    fold = warm(town_slots(30))
    fold.apply(closed(town_slots(31)[30]))
    arrays = fold.to_arrays()
    digests = set()
    for changes in ({}, {"universe": arrays["universe"][1:]}, {"universe_version": arrays["universe_version"] + 1}):
        again = RegionFold(HOURLY, FIRST_SLOT)
        again.from_arrays(arrays | changes, {})
        digests.add(again.digest(0).integers)
    assert 3 == len(digests)


def test_levels_are_tracked_from_version_4_on() -> None:
    """An older fold keeps and digests none; from the slot of its upgrade on it has the levels of one that was restored just before."""
    slots = town_slots(WARM + 12, late=True)
    fold = RegionFold(HOURLY, FIRST_SLOT, 3)
    for known in slots[:WARM]:
        fold.apply(closed(known))
    arrays = kept(fold.to_arrays())
    assert not [name for name in arrays if name.startswith("history0.level_")]
    models = fold.digest(0).models
    fold.follow(4)
    assert models != fold.digest(0).models
    restored = RegionFold(HOURLY, FIRST_SLOT)
    restored.from_arrays(arrays, {})
    for known in slots[WARM:]:
        for one in (fold, restored):
            one.follow(4)
            one.apply(closed(known))
    assert fold.digest(0) == restored.digest(0)
    assert [name for name in fold.to_arrays() if name.startswith("history0.level_")]
    digested = fold.digest(0).models
    fold.histories[0].levels.city[0, 0] += 1.0
    assert digested != fold.digest(0).models
    fold.follow(3)
    assert not [name for name in fold.to_arrays() if name.startswith("history0.level_")]


# --- outages ---------------------------------------------------------------------------------------------


def steady(slots: range, outage: range = range(0)) -> list[KnownSlot]:
    """A town where every hour is like every other: cell i has i + 1 rides, 36 cells."""
    rides = np.arange(1, len(CELLS) + 1)
    return [KnownSlot(slot, *((CELLS[:0], rides[:0]) if slot in outage else (CELLS, rides))) for slot in slots]


def test_unobserved_slots_are_neither_learned_nor_scored() -> None:
    """Windows that touch an outage have no score, and what was learned stands still until whole windows come true again."""
    slots = town_slots(WARM + 24, outage=range(WARM + 8, WARM + 14))
    fold = warm(slots[:WARM])
    fold.use(champion())
    still: set[bytes] = set()
    for known in slots[WARM:]:
        outcome = fold.apply(closed(known))
        assert (SlotStatus.OBSERVED if known.observed else SlotStatus.UNOBSERVED) == outcome.status
        for score in outcome.scores:
            for row in score.rows:
                window = range(score.slot - row.horizon_min // 60 + 1, score.slot + 1)
                assert not set(window) & set(range(FIRST_SLOT + WARM + 8, FIRST_SLOT + WARM + 14))
        if not known.observed:
            arrays = fold.forecasters[0].to_arrays()
            learned = [arrays[f"regional_{name}"] for name in ("curvature", "moment", "coefficients", "surges", "closes")]
            latest = [
                arrays["regional_region"][:1],
                arrays["regional_table"][:2],
                arrays["local_chance"],
            ]  # the slow errors below them fade with time
            still.add(b"".join(array.tobytes() for array in (*learned, *latest)))
    assert 1 == len(still)


@pytest.mark.parametrize(("version", "models"), [(5, MODELS), (6, UNCORRECTED)])
def test_unobserved_slots_are_no_lag_of_anything(version: int, models: ModelTable) -> None:
    """In a steady town an outage moves no forecast, and every feature is what it would have been or is unknown."""
    days = range(FIRST_SLOT, FIRST_SLOT + 16 * 24)
    outage = range(days.stop + 10, days.stop + 16)
    after = range(days.stop, days.stop + 9 * 24)
    fold, whole = (warm(steady(days), version, models) for _ in range(2))
    rides = 1_000 * np.arange(1, len(CELLS) + 1)[:, None] * np.array(HOURLY.horizons)
    unknown = 0
    for broken, known in zip(steady(after, outage), steady(after), strict=True):
        [issue] = fold.apply(closed(broken)).issues
        whole.apply(closed(known))
        assert rides.tolist() == issue.draft.columns.mean.tolist() == issue.draft.columns.baseline.tolist()
        features, expected = (
            build(one.histories[0], one.forecasters[0].calendar, known.slot, np.arange(len(CELLS))) for one in (fold, whole)
        )
        silent = np.isin(NAMES, ("weeks_known", *(("log_since_ride",) if known.slot in outage else ())))
        same = np.isnan(features) | np.isclose(features, expected, rtol=1e-5, atol=1e-6) | silent
        assert same.all(), (known.slot - outage.start, sorted({NAMES[i] for i in np.nonzero(~same)[1]}))
        unknown += int(np.isnan(features).sum() - np.isnan(expected).sum())
    assert unknown > 0


def test_silence_where_little_is_expected_is_zero_demand() -> None:
    """A slot without rides is observed, and counts as zero, unless the profile expects at least 14."""
    for rides, status in ((13, SlotStatus.OBSERVED), (14, SlotStatus.UNOBSERVED)):
        slots = [KnownSlot(slot, CELLS[:1], np.array([rides])) for slot in range(FIRST_SLOT, FIRST_SLOT + 24 * 8)]
        fold = warm(slots)
        outcome = fold.apply(ClosedSlot(fold.next_slot, (cut(),), (NO_COUNTS,), (NO_COUNTS,)))
        assert status == outcome.status
        assert (status is SlotStatus.OBSERVED) == fold.histories[0].complete(fold.next_slot - 1, fold.next_slot)
        silent = KnownSlot(slots[-1].slot + 1, CELLS[:0], slots[0].counts[:0])
        remembered = warm([*slots, silent])
        assert (status is SlotStatus.OBSERVED) == remembered.histories[0].complete(silent.slot, silent.slot + 1)


@pytest.mark.parametrize(
    ("rides", "excused", "finding", "status"),
    [
        (5, (False, False), None, SlotStatus.OBSERVED),
        (5, (False, False), GapFound(0, 3, 9), SlotStatus.PARTIAL),
        (5, (False, False), HorizonFound(0, 3, 9), SlotStatus.OBSERVED),
        (5, (False, False), SourceChanged(region="r", slot=1, before="{}", after="{}"), SlotStatus.PARTIAL),
        (5, (False, False), PartitionsChanged(region="r", slot=1, added=(2,), removed=()), SlotStatus.PARTIAL),
        (9, (False, True), None, SlotStatus.OBSERVED),  # 4.5 rides were expected of the one that is missing
        (10, (False, True), None, SlotStatus.PARTIAL),
        (10, (True, True), None, SlotStatus.PARTIAL),
    ],
)
def test_a_slot_of_which_something_is_missing_is_partial(
    rides: int, excused: tuple[bool, bool], finding: Finding | None, status: SlotStatus
) -> None:
    """A gap or change of the source, or an excused partition of which at least 5 rides were expected, is said in the status; all count."""
    slots = [KnownSlot(slot, CELLS[:1], np.array([rides])) for slot in range(FIRST_SLOT, FIRST_SLOT + 24 * 8)]
    fold = warm(slots)
    now = KnownSlot(fold.next_slot, CELLS[:1], np.array([1]))
    cuts = tuple(cut(p, excused=one) for p, one in enumerate(excused))
    outcome = fold.apply(closed(now, cuts=cuts, findings=(finding,) if finding else ()))
    assert status == outcome.status
    assert [1] == fold.histories[0].window(now.slot, now.slot + 1).tolist()


def test_an_outage_in_history_is_none_of_demand() -> None:
    """Bootstrapped slots without any ride where many were expected are no lag either."""
    outage = range(FIRST_SLOT + 15 * 24, FIRST_SLOT + 15 * 24 + 5)
    fold = warm(steady(range(FIRST_SLOT, FIRST_SLOT + 16 * 24), outage))
    assert 5 == 16 * 24 - fold.histories[0].observed_slots(FIRST_SLOT, FIRST_SLOT + 16 * 24)
    [issue] = fold.apply(closed(steady(range(fold.next_slot, fold.next_slot + 1))[0])).issues
    assert (1_000 * np.arange(1, len(CELLS) + 1)).tolist() == issue.draft.columns.mean[:, 0].tolist()


# --- resume ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_resumed_from_arrays_it_says_the_same_to_the_last_bit(seed: int) -> None:
    """Restored from snapshots at random slots, through corrections, an outage and changes of the model, every outcome is the same."""
    slots = town_slots(WARM + 80, seed=seed, late=True, outage=range(WARM + 30, WARM + 34))
    whole, broken = (
        warm(dataclasses.replace(known, late_slots=NO_COUNTS.slots) for known in town_slots(WARM, seed=seed, late=True)) for _ in range(2)
    )
    rng = np.random.default_rng(seed)
    models: Mapping[str, Champion] = {}
    restored = 0
    for i, known in enumerate(slots[WARM:]):
        if i in (5, 60):
            models = champion()
        elif i == 50:
            models = {}
        if rng.random() < 0.2:
            arrays, restored = kept(broken.to_arrays()), restored + 1
            named = champions_of(arrays, HOURLY.measures)
            broken = RegionFold(HOURLY, FIRST_SLOT + WARM)
            broken.from_arrays(arrays, {measure: Champion(digest, town_model().artefact) for measure, digest in named.items()})
        for fold in (whole, broken):
            fold.use(models)
        assert_same(said(whole.apply(closed(known))), said(broken.apply(closed(known))), f"slot {known.slot}")
        assert whole.digest(known.slot) == broken.digest(known.slot)
    assert restored > 5


def test_arrays_name_the_models_that_they_need() -> None:
    """A snapshot names the model of each measure, and none for a measure without one."""
    fold = RegionFold(TWO_MEASURES, 0)
    assert {} == champions_of(kept(fold.to_arrays()), TWO_MEASURES.measures)
    fold.use(champion())
    assert {"pickups": bytes(range(32))} == champions_of(kept(fold.to_arrays()), TWO_MEASURES.measures)


def test_fallbacks_add_up_to_the_cells() -> None:
    """The fallback counts of each issue match its column."""
    fold = warm(town_slots(WARM))
    fold.use(champion())
    [issue] = fold.apply(closed(town_slots(WARM + 1)[WARM])).issues
    codes, counts = np.unique(issue.draft.columns.fallback, return_counts=True)
    assert {FALLBACKS[code].value: n for code, n in zip(codes.tolist(), counts.tolist(), strict=True)} == issue.draft.fallbacks
