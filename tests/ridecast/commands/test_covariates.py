"""`ridecast covariates`, and the weather of `simulate`: what they record, show and refuse."""

from pathlib import Path

import pytest

from tests.ridecast.conftest import Call, Small

WEATHER = """valid_at,known_at,name,value
2025-04-07T13:00,2025-04-07T09:40,precipitation_mm,1.2
2025-04-07T12:00,2025-04-07T12:10,precipitation_mm,0.4
2025-04-07T12:00,2025-04-07T12:10,temperature_c,9.5
"""


def test_a_file_is_recorded_once_and_listed(copy: Small, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only region is the default; a second import adds nothing; the list says what there is; the ledger still verifies."""
    monkeypatch.chdir(copy.folder)
    Path("weather.csv").write_text(WEATHER, "utf-8")
    assert "no covariates are recorded; `ridecast covariates import` records some\n" == call("covariates", "list", "--home", "home").out
    done = call("covariates", "import", "weather.csv", "--home", "home")
    assert (0, "tehran: 3 values recorded, 0 were recorded already\n", "") == (done.status, done.out, done.err)
    again = call("covariates", "import", "weather.csv", "--home", "home", "--region", "tehran")
    assert "tehran: 0 values recorded, 3 were recorded already\n" == again.out
    shown = call("covariates", "list", "--home", "home").out
    assert [["tehran", "precipitation_mm", "mm", "2"], ["tehran", "temperature_c"]] == [
        words.replace("│", " ").split()[:count] for words, count in zip(lines(shown), (4, 2), strict=True)
    ]
    assert "2025-04-07T13:00:00+03:30" in shown
    assert 0 == call("ledger", "verify", "--home", "home").status
    assert "CovariatesKnown" in call("ledger", "tail", "--log", "control", "--home", "home").out


def lines(shown: str) -> list[str]:
    """The lines of a table that name the region."""
    return [line for line in shown.splitlines() if "tehran" in line]


def test_what_cannot_be_used_is_one_line(copy: Small, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong file, another value and an unknown region are refused with one line, status 2 or 1, and record nothing."""
    monkeypatch.chdir(copy.folder)
    Path("weather.csv").write_text(WEATHER, "utf-8")
    assert 0 == call("covariates", "import", "weather.csv", "--home", "home").status
    Path("other.csv").write_text(WEATHER.replace("9.5", "9.6"), "utf-8")
    Path("wrong.csv").write_text(WEATHER.replace("9.5", "warm"), "utf-8")
    for words, status, said in (
        (("other.csv",), 2, "expected 9.5 as recorded, got 9.6; nothing was imported"),
        (("wrong.csv",), 2, "wrong.csv: line 4: temperature_c: expected a number, got 'warm'"),
        ((".",), 2, "got a directory"),
        (("weather.csv", "--region", "nyc"), 1, "region nyc"),
    ):
        done = call("covariates", "import", *words, "--home", "home")
        assert (words, status, 1) == (words, done.status, done.err.count("\n")), done.err
        assert said in done.err
    assert "tehran: 0 values recorded, 3 were recorded already\n" == call("covariates", "import", "weather.csv", "--home", "home").out


def test_a_simulated_city_tells_its_weather(copy: Small, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """`simulate --weather` writes a file that `covariates import` takes, also when the rides are there already."""
    monkeypatch.chdir(copy.folder)
    city = ("--region", "tehran", "--days", 3, "--rides-per-day", 300, "--seed", 7)
    simulate = ("simulate", *city, "--out", "more", "--weather", "rain.csv")
    assert 0 == call(*simulate).status
    written = Path("rain.csv").read_bytes()
    Path("rain.csv").unlink()
    assert "nothing to do" in call(*simulate).out
    assert written == Path("rain.csv").read_bytes()
    assert 1 + 2 * 72 == written.count(b"\n")
    assert "tehran: 144 values recorded" in call("covariates", "import", "rain.csv", "--home", "home").out
