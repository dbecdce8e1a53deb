"""The environment as one digest: it changes with what floating point depends on, and with nothing else."""

import hashlib
import platform
from collections.abc import Callable
from importlib import metadata

import numpy as np
import pytest

from dataflows.stream import environment
from dataflows.stream.environment import PACKAGES, cpu_features, describe_environment, environment_digest
from tests.tree import requirements


def test_the_description_names_what_the_digest_covers() -> None:
    """Interpreter, machine, every package with its version, and the features of the CPU are in one line."""
    text = describe_environment()
    assert "\n" not in text
    assert text.startswith(f"python={platform.python_version()} ")
    assert f" {platform.machine()} " in text
    assert f"numpy={np.__version__} " in text
    assert [f"{name}={metadata.version(name)}" for name in PACKAGES] == [word for word in text.split() if word.split("=")[0] in PACKAGES]
    has = {name for name, present in cpu_features().items() if present}
    assert has == set(text.rpartition(" cpu=")[2].split(",")) - {""}


def test_numpy_still_names_the_features_of_the_cpu() -> None:
    """NumPy's private attribute exists, and agrees with NumPy's public output."""
    shown: dict[str, list[str]] = np.show_config(mode="dicts")["SIMD Extensions"]  # type: ignore[assignment]
    features = cpu_features()
    assert any(features.values())
    assert dict.fromkeys([*shown["baseline"], *shown["found"]], True).items() <= features.items()
    assert [] == [name for name in shown.get("not found", []) if features.get(name)]


def test_the_digest_is_that_of_the_description() -> None:
    """Anyone can recompute it, and it is the same each time."""
    assert hashlib.sha256(describe_environment().encode()).digest() == environment_digest() == environment_digest()


FEATURES = cpu_features()
CHANGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "another wheel": lambda patch: patch.setattr(
        "dataflows.stream.environment.metadata.version",
        lambda name: "0.1" if name == "tzdata" else metadata.Distribution.from_name(name).version,
    ),
    "another interpreter": lambda patch: patch.setattr(platform, "python_version", lambda: "3.12.99"),
    "another machine": lambda patch: patch.setattr(platform, "machine", lambda: "abacus"),
    "another CPU": lambda patch: patch.setattr(environment, "cpu_features", lambda: FEATURES | {"SSE2": False, "ABACUS": True}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_results_changes_the_digest(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Another wheel, interpreter, machine or CPU gives another digest."""
    before = environment_digest()
    CHANGES[change](monkeypatch)
    assert before != environment_digest()


def test_a_host_or_a_variable_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two equal machines have the same environment, whatever their names and variables."""
    before = environment_digest()
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    monkeypatch.setenv("HOME", "elsewhere")
    assert before == environment_digest()


def test_numeric_packages_are_covered() -> None:
    """Every numeric package that the core needs is in the digest, by the name under which it is declared."""
    assert set(PACKAGES) <= set(requirements()[0])
    assert {"numpy", "scipy", "river", "xgboost-cpu", "tzdata"} <= set(PACKAGES)
