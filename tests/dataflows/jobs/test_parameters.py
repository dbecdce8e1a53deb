"""Setting parameters: what is recorded, what is refused, and which value holds at every past time."""

import contextlib
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflows.jobs import parameters
from dataflows.jobs.flags import remove_flag, set_flag
from dataflows.jobs.parameters import set_parameter, unset_parameter
from ledger.store.log import Ledger, open_embedded
from ledger.store.recording import Recorder
from ledger.views.append import append_shared
from ledger.views.control import ControlView
from ledger.views.parameters import parameters_at, size_named
from schemas.errors import NotFound, UsageError
from schemas.records.record_codec import encode
from schemas.records.records import CONTROL_LOG, FlagSet, FoldChanged, ParameterSet, RegionBootstrapped, region_log
from schemas.regions import load_region
from schemas.times import iso
from state.decide.parameter_table import PARAMETERS, ROWS
from state.decide.parameters import Scope, find, text_of
from tests.ledger.exports import SIGNER

NYC, TEHRAN = load_region("nyc"), load_region("tehran")
T0_US = 1_780_000_000_000_000
CELLS = ("dr5ru7", "dr5rsj")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with two regions and nothing in its control log."""
    opened = open_embedded(tmp_path, instance="test", clock=lambda: T0_US / 1e6, signer=SIGNER)
    for region in (NYC, TEHRAN):
        boot = RegionBootstrapped(
            region=region.id, definition=region.to_json(), until="2014-05-01", first_slot=1, start_slot=1, rides=0, counts_blob=b""
        )
        Recorder(opened, region_log(region.id)).append(0, [encode(boot)])
    yield opened
    opened.close()


def put(ledger: Ledger, name: str, value: str, *, region: str = "", cell: str = "", at_us: int = T0_US) -> parameters.Changed:
    """Set a parameter at a time; unset it if the value is empty."""
    if not value:
        return unset_parameter(ledger, name, lambda: at_us, region=region, cell=cell, author="test", reason="a test")
    return set_parameter(ledger, name, value, lambda: at_us, region=region, cell=cell, author="test", reason="a test")


def texts(parameter_name: str) -> list[str]:
    """Some values that a parameter may have, and the empty text for unset."""
    row = PARAMETERS[parameter_name]
    if isinstance(row.default, bool):
        return ["on", "off", ""]
    middle = (row.low + min(row.high, 50)) / 2
    return [text_of(type(row.default)(number)) for number in (row.low, middle, min(row.high, 40))] + [""]


def slow_value(records: list[ParameterSet], name: str, region: str, cell: str) -> str | None:
    """The value by reading backwards, once per scope, from the narrowest: nothing is folded."""
    for wanted in ((region, cell), (region, ""), ("", "")):
        newest = next((one for one in reversed(records) if (one.parameter, one.region, one.cell) == (name, *wanted)), None)
        if newest is not None and newest.value:
            return newest.value
    return None


def test_the_value_at_a_thousand_past_times(ledger: Ledger) -> None:
    """At 1,000 random times and sizes of the control log, every value is that of the newest change before, read backwards."""
    chance, at_us = random.Random(20), T0_US
    for _ in range(140):
        at_us += chance.randrange(0, 5_000_000)
        name = chance.choice(list(PARAMETERS))
        scope = chance.choice(PARAMETERS[name].scopes)
        region = "" if scope is Scope.INSTANCE else chance.choice((NYC.id, TEHRAN.id)) if scope is Scope.REGION else NYC.id
        cell = chance.choice(CELLS) if scope is Scope.CELL else ""
        with contextlib.suppress(UsageError):  # nothing to unset
            put(ledger, name, chance.choice(texts(name)), region=region, cell=cell, at_us=at_us)
        if chance.random() < 0.2:  # what others record in between
            append_shared(ledger, CONTROL_LOG, FoldChanged(region=NYC.id, slot=chance.randrange(10**6), version=6))
    recorded = list(ledger.scan(CONTROL_LOG, kind=ParameterSet))
    assert len(recorded) > 80
    head, view, wrong = ledger.head(CONTROL_LOG).size, ControlView(ledger), []
    for number in range(1_000):
        name, region = chance.choice(list(PARAMETERS)), chance.choice(("", NYC.id, TEHRAN.id))
        cell = chance.choice(CELLS) if region == NYC.id and number % 3 == 0 else ""
        if number % 2:
            size = chance.randrange(head + 1)
            asked, before = str(size), [one.record for one in recorded if one.index < size]
        else:
            when = chance.randrange(T0_US - 10**7, at_us + 10**7)
            asked, before = iso(when), [one.record for one in recorded if one.record.set_at_us <= when]
        size = size_named(ledger, asked)
        found = find(parameters_at(ledger, size), PARAMETERS[name], region, cell)
        cited = find(view.at(size, ledger.root_at(CONTROL_LOG, size)).parameters, PARAMETERS[name], region, cell)
        expected = slow_value(before, name, region, cell)
        text = expected if expected is not None else text_of(PARAMETERS[name].default)
        if not text == text_of(found.value) == text_of(cited.value):
            wrong.append((asked, name, region, cell))
    assert [] == wrong


@pytest.mark.parametrize(
    ("name", "value", "place", "words"),
    [
        ("surge_threshold", "20", {}, "there is none of this name; did you mean surge_threshold_nats?"),
        ("surge_threshold_nats", "41", {}, "expected 0.5 to 40 nats, got 41"),
        ("surge_threshold_nats", "nan", {}, "expected a number, 0.5 to 40 nats, got 'nan'"),
        ("surge_threshold_nats", "inf", {}, "expected a number, 0.5 to 40 nats, got 'inf'"),
        ("surge_threshold_nats", "1e999", {}, "expected 0.5 to 40 nats, got 1e999"),
        ("surge_threshold_nats", "١٢", {}, "expected a number"),
        ("surge_threshold_nats", " 12", {}, "expected a number"),
        ("promotions_per_week", "1.5", {}, "expected a whole number, 0 to 100 1/week, got '1.5'"),
        ("publishing", "true", {}, "expected on or off, got 'true'"),
        ("publishing", "off", {"region": "atlantis"}, "expected one of nyc, tehran, got 'atlantis'"),
        ("publishing", "off", {"region": "nyc", "cell": "dr5ru7"}, "expected one of the scopes instance, region, got cell"),
        ("surge_threshold_nats", "12", {"cell": "dr5ru7"}, "expected --region too"),
        ("surge_threshold_nats", "12", {"region": "nyc", "cell": "dr5r"}, "expected a geohash of 6 letters in region nyc"),
        ("surge_threshold_nats", "12", {"region": "nyc", "cell": "dr5rai"}, "expected geohash letters"),
        ("surge_threshold_nats", "", {}, "nothing to unset"),
    ],
)
def test_what_cannot_be_set_is_refused(ledger: Ledger, name: str, value: str, place: dict[str, str], words: str) -> None:
    """One line says what is wrong, and nothing is recorded."""
    with pytest.raises((UsageError, NotFound)) as refused:
        put(ledger, name, value, region=place.get("region", ""), cell=place.get("cell", ""))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert ledger.head(CONTROL_LOG).size == 0


def test_the_same_value_is_not_recorded_again(ledger: Ledger) -> None:
    """A value that a scope has already is no change, however it is written; in another scope it is one."""
    assert put(ledger, "surge_threshold_nats", "20", region="nyc").record is not None
    again = put(ledger, "surge_threshold_nats", "2e1", region="nyc")
    assert (None, "20.0") == (again.record, again.before)
    assert put(ledger, "surge_threshold_nats", "20").record is not None
    assert 2 == len(list(ledger.scan(CONTROL_LOG, kind=ParameterSet)))


def test_a_clock_that_went_back_changes_no_order(ledger: Ledger) -> None:
    """A change decided by a clock behind the newest change has that change's time, so a time still names a beginning of the log."""
    put(ledger, "publishing", "off", at_us=T0_US)
    put(ledger, "publishing", "on", at_us=T0_US - 3_600_000_000)
    assert [T0_US] * 2 == [record.set_at_us for record in ledger.records(CONTROL_LOG, ParameterSet)]
    assert find(parameters_at(ledger, size_named(ledger, iso(T0_US))), PARAMETERS["publishing"]).value is True


@pytest.mark.parametrize(("at", "words"), [("99", "at most 0"), ("9" * 30, "at most 0"), ("soon", "an ISO time"), ("1970-01-01", "a year")])
def test_a_past_that_never_was_is_refused(ledger: Ledger, at: str, words: str) -> None:
    """A size that the log has not reached, and a text that is no time."""
    with pytest.raises(UsageError, match=words):
        size_named(ledger, at)


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen once, after the next decision has read the log and before it appends."""

    def read(ledger: Ledger, size: int) -> object:
        found = parameters_at(ledger, size)
        monkeypatch.setattr(parameters, "parameters_at", parameters_at)
        act()
        return found

    monkeypatch.setattr(parameters, "parameters_at", read)


def test_two_changes_at_once_are_both_recorded(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes second is decided again from the log that has the first: both are there, and the last one holds."""
    between(monkeypatch, lambda: put(ledger, "surge_threshold_nats", "20", region="nyc"))
    done = put(ledger, "surge_threshold_nats", "30", region="nyc")
    assert "20.0" == done.before
    assert ["20.0", "30.0"] == [record.value for record in ledger.records(CONTROL_LOG, ParameterSet)]


def test_of_two_equal_changes_at_once_one_is_recorded(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second finds that the value is there already; an unset that comes second finds nothing to take back, and says so."""
    between(monkeypatch, lambda: put(ledger, "publishing", "off", at_us=T0_US + 5))
    assert put(ledger, "publishing", "off").record is None
    between(monkeypatch, lambda: put(ledger, "publishing", "", at_us=T0_US + 9))
    with pytest.raises(UsageError, match="nothing to unset"):
        put(ledger, "publishing", "")
    assert ["off", ""] == [record.value for record in ledger.records(CONTROL_LOG, ParameterSet)]


def test_changes_of_several_threads_are_all_there(ledger: Ledger) -> None:
    """Eight writers with eight changes each lose none of them."""
    names = [row.name for row in ROWS if isinstance(row.default, float)][:8]

    def write(name: str) -> None:
        for number in range(8):
            put(ledger, name, str(number + 5))

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [(record.parameter, record.value) for record in ledger.records(CONTROL_LOG, ParameterSet)]
    expected = [(name, f"{number + 5}.0") for name, number in itertools.product(names, range(8))]
    assert sorted(expected) == sorted(found)


def test_flags_are_decided_from_the_log_too(ledger: Ledger) -> None:
    """A definition is recorded once in its canonical form; a broken one, and the removal of one that is not there, record nothing."""
    text = '{"default": "a", "variants": {"a": 1}}'

    def made(definition: str) -> FlagSet | None:
        return set_flag(ledger, "f", definition, lambda: T0_US, author="test", reason="a test")

    first = made(text)
    assert first is not None
    assert None is made(first.definition)
    with pytest.raises(UsageError, match="regions: expected some of nyc, tehran"):
        made('{"default": "a", "variants": {"a": 1}, "rules": [{"regions": ["gone"], "variant": "a"}]}')
    assert remove_flag(ledger, "f", lambda: T0_US, author="test", reason="a test") is not None
    with pytest.raises(UsageError, match="nothing to remove"):
        remove_flag(ledger, "f", lambda: T0_US, author="test", reason="a test")
    assert [first.definition, ""] == [record.definition for record in ledger.records(CONTROL_LOG, FlagSet)]


def test_the_page_has_every_parameter() -> None:
    """docs/parameters.md shows each parameter with its default, bounds, unit, scopes and effect."""
    shown: dict[str, list[str]] = {}
    for line in (Path(__file__).parents[3] / "docs" / "parameters.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[0].startswith("`"):
            shown |= dict.fromkeys((name.strip("`") for name in cells[0].split(", ")), cells[1:])
    expected = {}
    for row in ROWS:
        usual = "the setting" if row.setting else text_of(row.default).removesuffix(".0")
        bounds = row.bounds if isinstance(row.default, bool) else f"{row.low:,g} to {row.high:,.15g}"
        expected[row.name] = [usual, bounds, row.unit, ", ".join(row.scopes), row.effect]
    assert expected == shown
