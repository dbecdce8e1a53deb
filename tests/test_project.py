"""What pyproject.toml declares is what there is: versions that satisfy their floors, one version of ours, types in every package."""

import re
from importlib import metadata
from pathlib import Path

import pytest

from api.app import OPERATIONS
from api.openapi import document
from tests.tree import PACKAGES, files, project, requirements, text_of


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, to compare.

    >>> numbers("2026.10") > numbers("2026.9.3")
    True
    """
    return tuple(int(part) for part in re.findall(r"\d+", version))


def test_every_pinned_version_satisfies_its_floor() -> None:
    """Each dependency says the oldest version that will do, and the pinned one is that or newer, and agrees in all else."""
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text_of(Path("constraints.txt")), re.MULTILINE))
    runtime, extra = requirements()
    wrong = {}
    for name, allowed in (runtime | extra).items():
        match re.fullmatch(r"(>=|==)([\d.]+)(?:; .+)?", allowed):
            case re.Match() as found if found[1] == "==" and numbers(pins[name]) == numbers(found[2]):
                pass
            case re.Match() as found if found[1] == ">=" and numbers(pins[name]) >= numbers(found[2]):
                pass
            case _:
                wrong[name] = (allowed, pins[name])
    assert {} == wrong


def test_the_version_stands_in_one_place() -> None:
    """Metadata and OpenAPI document say the version of pyproject.toml, and no other file of code or settings repeats it."""
    version = project()["version"]
    assert version == metadata.version("ridecast"), "the installed metadata is old: make lint installs it again"
    info = document(OPERATIONS)["info"]
    assert isinstance(info, dict)
    assert version == info["version"]
    repeated = re.compile(rf"""["' ]{re.escape(version)}["']?$""", re.MULTILINE)
    code = [path for path in files() if path.suffix in {".py", ".toml", ".yaml", ".yml"} or path.name == "Makefile"]
    assert ["pyproject.toml"] == [str(path) for path in code if repeated.search(text_of(path))]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_marked_as_typed(package: str) -> None:
    """A type checker that sees an installed Ridecast uses its annotations (PEP 561)."""
    assert Path(package, "py.typed") in files()
