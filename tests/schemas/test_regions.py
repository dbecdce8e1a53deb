"""Regions as data: what ships, what a person may write, and what is refused with the field that is wrong."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ledger.store.log import LOG_NAME
from schemas.errors import UsageError
from schemas.records.records import region_log
from schemas.regions import Region, RegionId, load_region, region_from_json, shipped_regions

GIVEN: dict[str, Any] = {"id": "town", "timezone": "Europe/Berlin", "polygon": [[52.0, 13.0], [53.0, 13.0], [53.0, 14.0]]}


def region(**changes: object) -> Region:
    """A region as a file would describe it."""
    return region_from_json(json.dumps(GIVEN | changes), where="town.json")


def test_the_defaults_are_those_of_a_city() -> None:
    """What is left out has the values that the attributes document."""
    found = region()
    assert (6, 5, (15, 30, 60), ("requests",)) == (found.precision, found.slot_min, found.horizons_min, found.measures)
    assert (10, 3_600, (), None) == (found.issue_lateness_s, found.settle_lateness_s, found.holidays, found.parent)
    assert (300_000_000, (3, 6, 12), 30) == (found.slot_us, found.horizons, found.cell_bits)


divisors = st.sampled_from([n for n in range(1, 1_441) if 1_440 % n == 0])
regions = divisors.flatmap(
    lambda slot_min: st.builds(
        Region,
        id=st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True).map(RegionId),
        timezone=st.sampled_from(["UTC", "Asia/Tehran", "America/New_York"]),
        polygon=st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=3, max_size=6).map(tuple),
        precision=st.integers(4, 8),
        slot_min=st.just(slot_min),
        horizons_min=st.lists(st.integers(1, 6), min_size=1, max_size=4, unique=True).map(lambda h: tuple(slot_min * n for n in sorted(h))),
        measures=st.permutations(["requests", "pickups"]).map(tuple),
        holidays=st.lists(st.dates().map(str), max_size=3).map(tuple),
        issue_lateness_s=st.integers(0, 3_600),
        settle_lateness_s=st.integers(0, 86_400),
        areas=st.lists(st.tuples(st.text(max_size=5), st.lists(st.text(max_size=6), max_size=3).map(tuple)), max_size=2).map(tuple),
        parent=st.none() | st.just("other"),
    )
)


@given(regions)
def test_json_gives_the_region_again(found: Region) -> None:
    """The canonical definition, which every ledger holds, reads back to the same region and the same text."""
    text = found.to_json()
    again = region_from_json(text, where="a test")
    assert found == again
    assert text == again.to_json()
    assert sorted(json.loads(text)) == list(json.loads(text))
    assert LOG_NAME.fullmatch(region_log(found.id))


WRONG: list[tuple[dict[str, object], str]] = [
    ({"id": ""}, "region id: expected lower-case letters, digits, - or _, starting with a letter, at most 32 characters, got ''"),
    ({"id": "NYC"}, "region id: .* got 'NYC'"),
    ({"id": "1st"}, "region id: .* got '1st'"),
    ({"id": "_town"}, "region id: .* got '_town'"),
    ({"id": "-town"}, "region id: .* got '-town'"),
    ({"id": "são"}, "region id: .* got 'são'"),
    ({"id": "a/b"}, "region id: .* got 'a/b'"),
    ({"id": "town\n"}, r"region id: .* got 'town\\n'"),
    ({"id": "x" * 33}, "region id: "),
    ({"id": 7}, "region id: .* got 7"),
    ({"timezone": "Mars/Base"}, "region town: timezone: expected an IANA name, got 'Mars/Base'"),
    ({"timezone": "../etc"}, "region town: timezone: expected an IANA name, got '../etc'"),
    ({"timezone": 5}, "region town: timezone: expected an IANA name, got 5"),
    ({"timezone": "Europe"}, "region town: timezone: expected an IANA name, got 'Europe'"),
    ({"polygon": [[0, 0], [1, 1]]}, "polygon: expected at least 3 vertices, got 2"),
    ({"polygon": [[0, 0], [1, 1], [91, 0]]}, r"polygon: expected degrees, got \(91.0, 0.0\)"),
    ({"polygon": [[0, 0], [1, 1], [float("nan"), 0]]}, "polygon: expected degrees"),
    ({"polygon": [[0, 0], [1, 1], [2]]}, "town.json: "),
    ({"polygon": "square"}, "town.json: "),
    ({"precision": 3}, "precision: expected 4 to 8, got 3"),
    ({"precision": 9}, "precision: expected 4 to 8, got 9"),
    ({"precision": "6"}, "precision: expected a whole number, got '6'"),
    ({"precision": 6.5}, "precision: expected a whole number, got 6.5"),
    ({"slot_min": 7}, "slot_min: expected a divisor of 1440, got 7"),
    ({"slot_min": 0}, "slot_min: expected a divisor of 1440, got 0"),
    ({"slot_min": 5.0}, "slot_min: expected a whole number, got 5.0"),
    ({"slot_min": True}, "slot_min: expected a whole number, got True"),
    ({"horizons_min": []}, r"horizons_min: expected ascending multiples of 5, got \(\)"),
    ({"horizons_min": [30, 15]}, "horizons_min: expected ascending multiples of 5"),
    ({"horizons_min": [15, 15]}, "horizons_min: expected ascending multiples of 5"),
    ({"horizons_min": [16]}, "horizons_min: expected ascending multiples of 5"),
    ({"horizons_min": [15.0]}, "horizons_min: expected a whole number, got 15.0"),
    ({"horizons_min": 15}, "town.json: "),
    ({"measures": []}, "measures: expected at least one, each once"),
    ({"measures": ["pickups", "pickups"]}, "measures: expected at least one, each once"),
    ({"measures": ["rides"]}, "measure: expected one of requests, pickups, dropoffs, cancellations, unserved, got 'rides'"),
    ({"holidays": ["2014-02-30"]}, "holidays: expected dates as YYYY-MM-DD, got '2014-02-30'"),
    ({"holidays": ["20140704"]}, "holidays: expected dates as YYYY-MM-DD, got '20140704'"),
    ({"holidays": [20140704]}, "holidays: expected dates as YYYY-MM-DD, got 20140704"),
    ({"issue_lateness_s": -1}, "issue_lateness_s: expected 0 to 3600, got -1"),
    ({"issue_lateness_s": 10.5}, "issue_lateness_s: expected a whole number, got 10.5"),
    ({"settle_lateness_s": 86_401}, "settle_lateness_s: expected 0 to 86400, got 86401"),
    ({"slots": 5}, "town.json: unknown field 'slots'; known: id, timezone, "),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[json.dumps(changes) for changes, _ in WRONG])
def test_a_wrong_value_is_refused_with_its_field(changes: dict[str, object], message: str) -> None:
    """What was expected, what came, and where: never another kind of error, now or when the region is used."""
    with pytest.raises(UsageError, match=message):
        region(**changes)


@pytest.mark.parametrize("name", ["id", "timezone", "polygon"])
def test_a_missing_field_is_named(name: str) -> None:
    """What a region cannot do without is asked for by name."""
    text = json.dumps({key: value for key, value in GIVEN.items() if key != name})
    with pytest.raises(UsageError, match=f"town.json: missing field '{name}'"):
        region_from_json(text, where="town.json")


@pytest.mark.parametrize(
    ("text", "message"), [("{", "expected JSON, "), ("[]", "expected a JSON object, got list"), ("null", "expected a JSON object")]
)
def test_what_is_no_definition_is_said(text: str, message: str) -> None:
    """A file that holds something else is named with what it holds."""
    with pytest.raises(UsageError, match=f"town.json: {message}"):
        region_from_json(text, where="town.json")


def test_what_ships_is_whole() -> None:
    """Each shipped region loads under its own name, lies around its city, and has holidays in order."""
    for name, inside in (("nyc", (40.7484, -73.9857)), ("tehran", (35.6892, 51.389))):
        found = load_region(name)
        assert name == found.id
        lats, lons = zip(*found.polygon, strict=True)
        assert min(lats) < inside[0] < max(lats)
        assert min(lons) < inside[1] < max(lons)
        assert list(found.holidays) == sorted(set(found.holidays))
    assert ("nyc", "tehran") == shipped_regions()


def test_a_file_describes_a_region(tmp_path: Path) -> None:
    """Whatever stands in the file is what is loaded."""
    path = tmp_path / "town.json"
    path.write_text(region(slot_min=10, horizons_min=[20]).to_json(), "utf-8")
    assert region(slot_min=10, horizons_min=[20]) == load_region(str(path))


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """No such name or file, a folder, and bytes that are no text are one line that names them."""
    missing = str(tmp_path / "none.json")
    with pytest.raises(
        UsageError,
        match=re.escape(f"or a JSON or GeoJSON file, got {missing!r}, and there is no such file"),
    ):
        load_region(missing)
    with pytest.raises(UsageError, match="--region: expected one of nyc, tehran or a JSON or GeoJSON file"):
        load_region(str(tmp_path))
    (tmp_path / "latin.json").write_bytes(json.dumps(GIVEN | {"id": "x"}).encode() + b" \xe9")
    with pytest.raises(UsageError, match=r"latin.json: expected JSON in UTF-8"):
        load_region(str(tmp_path / "latin.json"))
