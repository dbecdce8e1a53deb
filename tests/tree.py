"""What the tidy test asks about the tree: which files there are, which names they define, which calls they make."""

import ast
import copy
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("schemas", "state", "ledger", "dataflows", "api", "ridecast")


@cache
def files() -> tuple[Path, ...]:
    """Every file of the project, relative to its root: tracked, or new and not ignored."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return tuple(sorted(Path(name) for name in names if (ROOT / name).is_file()))


def python_files(*folders: str) -> tuple[Path, ...]:
    """Python files under these top folders, or everywhere."""
    return tuple(path for path in files() if path.suffix == ".py" and (not folders or path.parts[0] in folders))


@cache
def text_of(path: Path) -> str:
    """The text of a file; bytes that are no UTF-8 are replaced."""
    return (ROOT / path).read_text("utf-8", "replace")


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(text_of(path), str(path))


def defined_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of everything that a file names itself: functions, classes, arguments, variables, fields."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.alias(asname=str(name)):
                yield node.lineno, name
            case _:
                pass


def own_private_names() -> frozenset[str]:
    """Private names that some file of ours defines; any other private name belongs to somebody else."""
    return frozenset(name for path in python_files() for _, name in defined_names(tree_of(path)) if is_private(name))


def is_private(name: str) -> bool:
    """Whether a name begins with one underscore, or is a double one that no Python manual describes.

    >>> [is_private(name) for name in ("_weights", "__init__", "weights", "_", "_TIMED_OUT")]
    [True, False, False, False, True]
    """
    return name.startswith("_") and name != "_" and not name.startswith("__")


def foreign_private_names(tree: ast.Module, ours: frozenset[str]) -> Iterator[tuple[int, str]]:
    """(line, name) of every use of a private name of another package: imported, as an attribute, or in a text to patch.

    >>> code = "from numpy._core import _x; a._ours = b._theirs; setattr('river.base._y')"
    >>> list(foreign_private_names(ast.parse(code), frozenset(["_ours"])))
    [(1, '_core'), (1, '_x'), (1, '_theirs'), (1, '_y')]
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found = [part for alias in names for part in alias.name.split(".")]
            case ast.ImportFrom(module=module, names=names):
                found = [*(module or "").split("."), *(alias.name for alias in names)]
            case ast.Attribute(attr=name):
                found = [name]
            case ast.Constant(value=str(text)) if re.fullmatch(r"[A-Za-z]\w*(\.\w+)+", text):
                found = text.split(".")
            case _:
                continue
        yield from ((node.lineno, name) for name in found if is_private(name) and name not in ours)


def words_of(name: str) -> list[str]:
    """The words of an identifier, in lower case.

    >>> words_of("SlotCounts_byCell2")
    ['slot', 'counts', 'by', 'cell']
    """
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def uses(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """(line, full dotted name, called without arguments) of every use of an imported name.

    >>> list(uses(ast.parse("from datetime import datetime as d; d.now()")))
    [(1, 'datetime.datetime.now', True)]
    """
    origin: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origin |= {
                alias.asname or alias.name.split(".")[0]: alias.name if alias.asname else alias.name.split(".")[0] for alias in node.names
            }
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            origin |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    bare = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and not node.args and not node.keywords}
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if id(node) in inner or not isinstance(node, ast.Attribute | ast.Name):
            continue
        parts: list[str] = []
        place: ast.expr = node
        while isinstance(place, ast.Attribute):
            parts.append(place.attr)
            place = place.value
        if isinstance(place, ast.Name) and place.id in origin:
            yield node.lineno, ".".join([origin[place.id], *reversed(parts)]), id(node) in bare


def at_import(tree: ast.Module) -> ast.Module:
    """What of a file runs while it is imported: everything but the bodies of functions; their decorators and defaults do run.

    >>> ast.unparse(at_import(ast.parse("@f(1)\\ndef g(x=2): h()")))
    '@f(1)\\ndef g(x=2):\\n    pass'
    """

    class Emptied(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
            node.body = [ast.Pass()]
            return node

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
            node.body = [ast.Pass()]
            return node

        def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
            node.body = ast.Constant(None)
            return node

    emptied: ast.Module = Emptied().visit(copy.deepcopy(tree))
    return emptied


def project() -> dict[str, Any]:
    """The table `project` of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return found


def requirements() -> tuple[dict[str, str], dict[str, str]]:
    """Packages that Ridecast's code imports, and those that only its tests and its build need: name -> versions, such as `>=2.4`."""
    table, name = project(), re.compile(r"[A-Za-z0-9-]+")
    more = table["optional-dependencies"]
    lists = ([*table["dependencies"], *more["plot"], *more["flags"]], [*more["test"], *more["build"]])
    runtime, extra = ({name.findall(line)[0]: name.sub("", line, count=1) for line in lines} for lines in lists)
    return runtime, extra


def imported_packages(tree: ast.Module) -> set[str]:
    """Top-level packages that a file imports, relative imports left out."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found
