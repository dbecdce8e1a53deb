"""Public holidays by the `holidays` package: known dates, and countries that it does not know."""

import sys
from importlib import metadata

import pytest

from dataflows.connectors.public_holidays import public_holidays
from schemas.errors import UsageError


@pytest.mark.parametrize(
    ("code", "holiday", "working_day"),
    [
        ("US", "2014-07-04", "2014-07-03"),
        ("US-NY", "2014-02-12", "2014-02-13"),  # Lincoln's birthday, in New York
        ("DE-BE", "2019-03-08", "2018-03-08"),  # Women's day, in Berlin since 2019
        ("IR", "2025-03-21", "2025-03-26"),
    ],
)
def test_known_days(code: str, holiday: str, working_day: str) -> None:
    """Days that are holidays of a country or subdivision are found, others are not, for every year from 2009 to ten years ahead."""
    found = public_holidays(code, 2026)
    assert holiday in found.dates
    assert working_day not in found.dates
    assert ((code,), (2009, 2036)) == (found.rules, found.years)
    assert set(range(2009, 2037)) == {int(day[:4]) for day in found.dates}
    assert list(found.dates) == sorted(set(found.dates))
    assert f"holidays {metadata.version('holidays')}" == found.source


@pytest.mark.parametrize("code", ["XX", "US-QQ"])
def test_unknown_places_are_refused(code: str) -> None:
    """A country or subdivision that the package does not know is named with what can be given."""
    with pytest.raises(UsageError, match=rf"holidays: expected a country, .* got {code}: .*; use ISO 3166 codes such as US or US-NY"):
        public_holidays(code, 2026)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the package is told how to get it, or to list dates."""
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(UsageError, match=r"holidays: US: expected the package holidays, .*; install it, or list dates"):
        public_holidays("US", 2026)
