"""Studies: what is tried depends on seed and history alone, also after a kill; which study goes on; and files that cannot be used."""

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from dataflows.jobs.study import PRUNE_AFTER, SPACE, open_study, recorded_results, study_file
from ledger.store.files import held_alone
from schemas.errors import StoreUnavailable, UsageError
from state.forecast.search import TrialResult
from state.models.fit_parameters import AS_SHIPPED, NAMES, FitParameters

SPEC = {"history": "slots 0 to 9", "search space": "seven"}
TRIALS = 11


class Killed(BaseException):
    """Ends a trial as a kill does: nothing of ours runs any more."""


def errors(fit: FitParameters) -> Iterator[float]:
    """A valley with its floor at a depth of 3 and an eta of 0.1, in four blocks of which the later ones are harder."""
    for block in range(4):
        yield 0.5 + abs(fit.max_depth - 3) / 10 + abs(fit.eta - 0.1) + 0.01 * block


def search(home: Path, until: int, killed_in: tuple[int, ...] = ()) -> list[TrialResult]:
    """Make trials until there are so many; those that are named are killed in their second block, and then made again."""
    remaining = list(killed_in)
    while True:
        with contextlib.suppress(Killed), open_study(home, "nyc", "requests", SPEC, seed=3) as study:
            while (number := len(study.results())) < until:

                def dying(fit: FitParameters, number: int = number) -> Iterator[float]:
                    for block, error in enumerate(errors(fit)):
                        if number in remaining and block == 1:
                            remaining.remove(number)
                            raise Killed
                        yield error

                study.try_next(dying)
            return study.results()


def test_a_killed_search_finds_what_an_uninterrupted_one_finds(tmp_path: Path) -> None:
    """The same trials in the same order, with the same errors, whether the process was killed thrice or never."""
    whole = search(tmp_path / "whole", TRIALS)
    assert whole == search(tmp_path / "killed", TRIALS, (0, 4, 9))
    assert whole == search(tmp_path / "whole", TRIALS)  # there is nothing left to do
    assert list(range(TRIALS)) == [result.number for result in whole]


def test_the_default_is_tried_first_and_what_is_worse_is_stopped(tmp_path: Path) -> None:
    """Trial 0 has the parameters of the release; some later ones end before their last block, and none of those is the best."""
    found = search(tmp_path, TRIALS)
    assert (AS_SHIPPED, tuple(errors(AS_SHIPPED))) == (found[0].fit, found[0].losses)
    pruned = [result for result in found if result.pruned]
    assert pruned
    assert min(result.number for result in pruned) >= PRUNE_AFTER
    assert min(result.loss for result in found if not result.pruned) < min(found[0].loss, *(result.loss for result in pruned))
    for result in found:
        assert tuple(errors(result.fit))[: len(result.losses)] == result.losses
        assert result.pruned == (len(result.losses) < 4)


def test_every_parameter_is_tried_within_its_bounds(tmp_path: Path) -> None:
    """The default of each parameter lies in the space, and what is tried too; each takes several values."""
    assert tuple(SPACE) == NAMES
    found = search(tmp_path, TRIALS)
    for name, bounds in SPACE.items():
        values = {getattr(result.fit, name) for result in found}
        assert bounds.low <= min(values) <= max(values) <= bounds.high
        assert len(values) >= 3


def test_other_data_are_another_study_and_it_says_so(tmp_path: Path) -> None:
    """The line about a study says that it is new, that it goes on with so many trials, or what differs from the last one."""
    news = []
    for history in ("slots 0 to 9", "slots 0 to 9", "slots 0 to 12"):
        with open_study(tmp_path, "nyc", "requests", SPEC | {"history": history}, seed=3) as study:
            news.append((study.name, study.news))
            study.try_next(errors)
            study.try_next(errors)
    (first, said), (again, then), (other, last) = news
    assert (f"study {first}: new", f"study {first}: continued, with 2 trials") == (said, then)
    assert first == again != other
    assert f"study {other}: new; study {first} in the same file differs in: history" == last
    assert [4, 2] == [len(recorded_results(tmp_path, "nyc", "requests", name)) for name in (first, other)]


def test_what_was_recorded_can_be_read_or_is_gone(tmp_path: Path) -> None:
    """The trials of a study are found by its name; without its file or under another name there are none."""
    found = search(tmp_path, 3)
    with open_study(tmp_path, "nyc", "requests", SPEC, seed=3) as study:
        name = study.name
    assert found == recorded_results(tmp_path, "nyc", "requests", name)
    assert [] == recorded_results(tmp_path, "nyc", "requests", "000000000000")
    assert [] == recorded_results(tmp_path, "nyc", "pickups", name)


def test_optuna_has_what_was_fitted(tmp_path: Path) -> None:
    """Anybody who opens the file with Optuna sees the parameters and errors of each trial, the default's too."""
    found = search(tmp_path, 3)
    [name] = optuna.get_all_study_names(f"sqlite:///{study_file(tmp_path, 'nyc', 'requests')}")
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{study_file(tmp_path, 'nyc', 'requests')}")
    for result, trial in zip(found, study.trials, strict=True):
        assert {name: pytest.approx(getattr(result.fit, name), rel=0.01) for name in NAMES} == trial.params
        assert result.loss == trial.value


def test_a_home_may_have_any_name(tmp_path: Path) -> None:
    """Signs that mean something in an address or a template are only signs of the folder's name."""
    home = tmp_path / "a home?b=1 #%20{c}"
    search(home, 1)
    assert study_file(home, "nyc", "requests").exists()
    assert [home.name] == [path.name for path in tmp_path.iterdir()]


def test_one_search_at_a_time(tmp_path: Path) -> None:
    """While another process works on the file, a second search is refused, with that process's number."""
    path = study_file(tmp_path, "nyc", "requests")
    path.parent.mkdir()
    said = rf"study {path}: another search works on it \(pid 4711\); wait until it ends, or stop it"
    with held_alone(path.with_suffix(".lock"), "4711"), pytest.raises(StoreUnavailable, match=said):
        search(tmp_path, 1)
    assert 1 == len(search(tmp_path, 1))


def test_a_file_that_is_no_study_is_reported(tmp_path: Path) -> None:
    """A file with other bytes, and a folder that is a file, are named with what to do, in one line."""
    path = study_file(tmp_path, "nyc", "requests")
    path.parent.mkdir()
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreUnavailable, match=rf"study {path}: file is not a database; make it readable, or move it away") as caught:
        search(tmp_path, 1)
    assert "\n" not in str(caught.value)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "studies").write_text("", "utf-8")
    with pytest.raises(StoreUnavailable, match=r"study .*/other/studies/nyc-requests.db: (File exists|Not a directory)"):
        search(tmp_path / "other", 1)


def test_a_locked_or_full_database_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite says of a lock that somebody else holds, or of a full disk, is the line that the operator reads."""
    search(tmp_path, 1)
    path = study_file(tmp_path, "nyc", "requests")
    with contextlib.closing(sqlite3.connect(path)) as other:
        pages = int(other.execute("PRAGMA page_count").fetchone()[0])
    real = sqlite3.connect

    def full(*given: object, **words: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(*given, **words)  # type: ignore[call-overload]  # as it was called
        connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite then says what it says of a full disk
        return connection

    monkeypatch.setattr("sqlite3.dbapi2.connect", full)
    with pytest.raises(StoreUnavailable, match=r"database or disk is full; free some space; the same command continues"):
        search(tmp_path, 40)
    monkeypatch.undo()
    assert 1 <= len(search(tmp_path, 1)) < 40


def test_without_optuna_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the package is told how to get it, and nothing is created."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"--search: expected the package optuna, .*; install it with `pip install optuna`, or train wi"):
        search(tmp_path, 1)
    assert [] == os.listdir(tmp_path)
