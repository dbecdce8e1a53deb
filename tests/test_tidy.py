"""The rules that a program can check; CONTRIBUTING.md says why they are ours."""

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.tree import (
    PACKAGES,
    ROOT,
    at_import,
    defined_names,
    files,
    foreign_private_names,
    imported_packages,
    own_private_names,
    python_files,
    requirements,
    text_of,
    tree_of,
    uses,
    words_of,
)

MOST_LINES = 400  # the guideline is 80 to 300: past that a file answers more than one question
LONGER: dict[str, str] = {}  # path: why it may be longer

# One word per thing. Only names that we choose ourselves are looked at, never those of other people's interfaces.
WORDS = {
    "bucket": "slot",
    "buckets": "slots",
    "hexagon": "cell",
    "customer": "rider",
    "passenger": "rider",
    "manager": "what it answers",
    "helper": "what it answers",
    "helpers": "what it answers",
    "util": "what it answers",
    "utils": "what it answers",
    "misc": "what it answers",
}

# What the core may not ask: clocks, the environment, and randomness without a seed are passed in.
IMPURE = re.compile(
    r"""time\.(time|time_ns|perf_counter|perf_counter_ns|monotonic|monotonic_ns|process_time|localtime|gmtime)
      | datetime\.(datetime\.(now|utcnow|today)|date\.today)
      | pandas\.Timestamp\.(now|utcnow|today)
      | os\.(environ|getenv|urandom|getrandom)(\..*)?
      | secrets\..* | uuid\.uuid[14] | random\.SystemRandom
      | random\.(?!Random$)[a-z]+
      | numpy\.random\.(?!default_rng$|Generator$|SeedSequence$|PCG64$|Philox$)\w+""",
    re.VERBOSE,
)
UNSEEDED = {"random.Random", "numpy.random.default_rng", "numpy.random.SeedSequence", "numpy.random.PCG64", "numpy.random.Philox"}

# Registries are reached by the ordinary clients as each machine has them set up; a tree that names one breaks elsewhere.
HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("repo1", "maven", "org"),
        ("repo", "maven", "apache"),
        ("registry", "npmjs"),
        ("deb", "debian", "org"),
        ("proxy", "golang"),
        ("static", "crates"),
    )
)
PLACES = re.compile(r"(?<![\w.~$}-])/(?:root|work|Users|opt/wheels)/|(?<![\w.~$}-])/home/(?!ridecast\b)\w+")

# Packages that are needed without being imported: by name in a connection URL, as data, or by another package.
NOT_IMPORTED = {"alembic", "tzdata", "pg8000", "pandas-stubs", "ruff", "mypy", "import-linter", "pytest-cov", "pytest-timeout", "coverage"}
NOT_IMPORTED |= {"editables", "hatchling", "httpx", "pytest-xdist"}
# Private names of other packages, each with the only file that uses it; the test beside it fails when the name goes.
PRIVATE = {
    "_core": "dataflows/stream/environment.py",  # NumPy: the features of the CPU; test_numpy_still_names_the_features_of_the_cpu
    "_multiarray_umath": "dataflows/stream/environment.py",
    "_weights": "state/models/online.py",  # River: a linear model's; test_river_still_lets_its_weights_be_set
}
OURS = {*PACKAGES, "tests", *sys.stdlib_module_names}
IMPORT_NAMES = {"mlflow-skinny": "mlflow", "xgboost-cpu": "xgboost"}
IMPORT_NAMES |= {"openfeature-sdk": "openfeature", "openfeature-provider-ofrep": "openfeature"}


def test_no_file_answers_too_many_questions() -> None:
    """No Python file is longer than the limit, except the ones on the list, which are."""
    lengths = {str(path): text_of(path).count("\n") for path in python_files()}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES and path not in LONGER} == {}
    assert [path for path in LONGER if lengths.get(path, 0) <= MOST_LINES] == []


def test_every_module_says_what_it_answers() -> None:
    """Every module starts with a docstring."""
    assert [str(path) for path in python_files() if text_of(path).strip() and not ast.get_docstring(tree_of(path))] == []


def test_one_word_per_thing() -> None:
    """No name of ours, of a file or in one, uses a word for which another is in use."""
    found = [f"{path}: {word}: say {WORDS[word]}" for path in python_files() for word in words_of(path.stem) if word in WORDS]
    found += [
        f"{path}:{line}: {name}: say {WORDS[word]}"
        for path in python_files()
        for line, name in defined_names(tree_of(path))
        for word in words_of(name)
        if word in WORDS
    ]
    assert found == []


def test_the_core_asks_neither_clock_nor_chance_nor_environment() -> None:
    """Code in state and ledger gets time, randomness and settings passed in, so that a replay sees the same."""
    assert [f"{path}:{line}: {name}" for path in python_files("state", "ledger") for line, name in impure_uses(tree_of(path))] == []


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import time; time.time()", ["time.time"]),
        ("from time import perf_counter as p; p()", ["time.perf_counter"]),
        ("import datetime as dt; dt.datetime.now(dt.UTC)", ["datetime.datetime.now"]),
        ("import os; x = os.environ['A']", ["os.environ"]),
        ("import os; os.environ.get('A')", ["os.environ.get"]),
        ("import random; random.random()", ["random.random"]),
        ("import random; random.Random(7)", []),
        ("import numpy as np; np.random.default_rng()", ["numpy.random.default_rng"]),
        ("import numpy as np; np.random.default_rng(7)", []),
        ("import numpy as np; np.random.rand(3)", ["numpy.random.rand"]),
        ("from datetime import datetime; datetime.fromtimestamp(0)", []),
        ("import os; os.fsync(3)", []),
    ],
)
def test_the_rule_about_the_core_sees_what_it_should(code: str, names: list[str]) -> None:
    """A clock, chance or the environment is seen under any name, and what is seeded passes."""
    assert names == [name for _, name in impure_uses(ast.parse(code))]


def test_every_process_collects_the_same_tests() -> None:
    """No test file asks clock or chance while it is imported, or two workers would find tests of different names."""
    assert [name for _, name in impure_uses(at_import(ast.parse("import time\nX = time.time()\ndef f(): time.time()")))] == ["time.time"]
    used = [(path, line, name) for path in python_files("tests") for line, name in impure_uses(at_import(tree_of(path)))]
    called = [f"{path}:{line}: {name}" for path, line, name in used if re.search(rf"\b{name.split('.')[-1]}\(", line_of(path, line))]
    assert [entry for entry in called if "os.environ" not in entry] == []  # both workers have the same environment


def test_compressed_bytes_do_not_depend_on_the_clock() -> None:
    """Every call of gzip.compress states the time that it writes: by default the bytes change with the second."""
    calls = [(path, node) for path in python_files() for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    gzips = [(path, node) for path, node in calls if ast.unparse(node.func) == "gzip.compress"]
    assert gzips
    assert [f"{path}:{node.lineno}" for path, node in gzips if "mtime" not in {word.arg for word in node.keywords}] == []


NUMBERED = re.compile(r"(?i)\b(select|insert|update|delete|values|where)\b.*\?\d", re.DOTALL)


def test_statements_name_their_parameters() -> None:
    """No SQL statement numbers its parameters: from Python 3.12 on, SQLite warns when a sequence is bound to such numbers."""
    assert NUMBERED.search("INSERT INTO slots VALUES (?1)")
    assert not [
        f"{path}:{node.lineno}"
        for path in python_files(*PACKAGES)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NUMBERED.search(node.value)
    ]


def test_only_shells_catch_everything_without_a_word() -> None:
    """Where schemas, state or ledger catch every exception, the line says why."""
    found = [
        f"{path}:{node.lineno}"
        for path in python_files("schemas", "state", "ledger")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and "# " not in line_of(path, node.lineno)
    ]
    assert found == []


def test_every_test_says_what_it_shows() -> None:
    """Every test function has a docstring of one sentence."""
    found = []
    for path in python_files("tests"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                text = " ".join((ast.get_docstring(node) or "").split())
                if not re.fullmatch(r"(?:[^.!?]|[.!?](?! [A-Z]))+[.]", text):
                    found.append(f"{path}:{node.lineno}: {node.name}: expected one sentence, got {text!r}")
    assert found == []


def test_no_test_is_skipped() -> None:
    """A test whose server is missing fails and says what to install; only shared data that is not in the tree may be absent."""
    banned = {"pytest.skip", "pytest.mark.skip", "pytest.mark.skipif", "pytest.importorskip", "unittest.skip", "unittest.SkipTest"}
    found = [f"{path}: {name}" for path in python_files("tests") for _, name, _ in uses(tree_of(path)) if name in banned]
    assert found == ["tests/conftest.py: pytest.skip"]


def test_the_tree_names_no_registry_and_no_machine() -> None:
    """No file holds the address of a package registry or an absolute path of somebody's machine."""
    found = []
    for path in files():
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if any(host in line for host in HOSTS) or (path != Path("tests/test_tidy.py") and PLACES.search(line)):
                found.append(f"{path}:{number}: {line.strip()[:100]}")
    assert found == []


def test_every_import_is_a_declared_dependency() -> None:
    """What the code imports is declared, what is declared is imported, and tests need nothing more than their extra."""
    code = set().union(*(imported_packages(tree_of(path)) for path in python_files(*PACKAGES))) - OURS
    tests = set().union(*(imported_packages(tree_of(path)) for path in python_files("tests"))) - OURS
    runtime, extra = declared()
    assert code - modules_of(runtime) == set()
    assert tests - modules_of(runtime | extra) == set()
    assert modules_of((runtime | extra) - NOT_IMPORTED) - code - tests == set()


def test_every_dependency_is_pinned_with_a_digest() -> None:
    """Each declared package stands in constraints.txt with a version and at least one digest."""
    pins = re.findall(r"^([a-z0-9-]+)==\S+[^\n]*\\\n    --hash=sha256:[0-9a-f]{64}", text_of(Path("constraints.txt")), re.MULTILINE)
    runtime, extra = declared()
    assert (runtime | extra) - set(pins) == set()


def test_private_names_of_others_stand_in_one_file_each() -> None:
    """What another package calls private is used in the one file that the table names, behind a function of ours."""
    ours = own_private_names()
    found = {(name, str(path)) for path in python_files() for _, name in foreign_private_names(tree_of(path), ours)}
    # os._exit is in Python's manual; librdkafka's manual lists the errors of the client itself, and all begin so.
    assert {(name, path) for name, path in found if name != "_exit" and not re.fullmatch("_[A-Z_]+", name)} == set(PRIVATE.items())


def catches_all(handler: ast.ExceptHandler) -> bool:
    """Whether it is a bare except or names Exception or its base, and does not raise again what it caught."""
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    return handler.type is None or (isinstance(handler.type, ast.Name) and handler.type.id in {"Exception", "BaseException"})


def line_of(path: Path, number: int) -> str:
    """One line of a file, counted from 1."""
    return text_of(path).splitlines()[number - 1]


def impure_uses(tree: ast.Module) -> list[tuple[int, str]]:
    """(line, full name) of what the core may not ask."""
    return [(line, name) for line, name, bare in uses(tree) if IMPURE.fullmatch(name) or (bare and name in UNSEEDED)]


def declared() -> tuple[set[str], set[str]]:
    """Names of the packages that Ridecast needs, and of those that only its tests need."""
    runtime, extra = requirements()
    return set(runtime), set(extra)


def modules_of(packages: set[str]) -> set[str]:
    """Names under which packages are imported."""
    return {IMPORT_NAMES.get(name, name).replace("-", "_") for name in packages}


def test_documents_name_what_is_there() -> None:
    """Every path of the tree that a page of the documentation names exists."""
    named = re.compile(rf"`((?:{'|'.join(PACKAGES)}|tests|docs)/[\w/.-]*)`")
    pages = [path for path in files() if path.suffix == ".md"]
    found = [(str(page), place) for page in pages for place in named.findall(text_of(page))]
    assert len(found) > 50
    assert [(page, place) for page, place in found if not (ROOT / place).exists()] == []


def test_decision_records_have_date_and_status() -> None:
    """Every decision record begins with its number, title, date and status, and the index repeats exactly that."""
    head = re.compile(r"# (\d+)\. (.+)\n\n- Date: (\d{4}-\d\d-\d\d)\n- Status: (proposed|accepted|superseded by \d{4})\n\n\*\*Context")
    records = [path for path in files() if re.fullmatch(r"docs/adr/\d{4}-[a-z0-9-]+\.md", str(path))]
    found = {path: head.match(text_of(path)) for path in records}
    assert [str(path) for path, parts in found.items() if parts is None] == []
    expected = [f"| {parts[1]} | [{parts[2]}]({path.name}) | {parts[3]} | {parts[4]} |" for path, parts in found.items() if parts]
    assert expected == [line for line in text_of(Path("docs/adr/README.md")).splitlines() if re.match(r"\| \d", line)]
    assert [str(number) for number in range(1, len(records) + 1)] == [parts[1] for parts in found.values() if parts]


def test_pages_say_nothing_twice() -> None:
    """No release of the changelog has a heading or a line twice, and no table of a page has two rows with the same first cell."""
    said: dict[str, list[str]] = {}
    for release in re.split(r"^## ", text_of(Path("CHANGELOG.md")), flags=re.MULTILINE)[1:]:
        said[f"CHANGELOG.md {release.splitlines()[0]}"] = [line for line in release.splitlines() if line.startswith(("### ", "- "))]
    for page in ("docs/systems.md", "docs/running.md", "docs/api.md", "docs/faults.md"):
        said[page] = [line.split("|")[1].strip(" *") for line in text_of(Path(page)).splitlines() if re.match(r"\| [^-]", line)]
    heads = {"fault"}  # of the several tables of one page
    again = [(page, line) for page, lines in said.items() for line in set(lines) - heads if lines.count(line) > 1]
    assert again == []


@pytest.mark.parametrize(("package", "most"), [("dataflows", 1), ("ledger", 1), ("state", 2), ("schemas", 8)])
def test_modules_are_in_rooms(package: str, most: int) -> None:
    """Few modules lie loose in a package: what belongs together has a package of its own."""
    assert len(list((ROOT / package).glob("*.py"))) <= most
