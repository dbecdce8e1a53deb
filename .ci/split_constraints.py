"""Puts the packages that only tests and plots need behind a line in constraints.txt, so that a plain installation leaves them out.

Usage: python split_constraints.py ALL RUN > constraints.txt, where both are outputs of `uv pip compile` and RUN has the
packages that a plain installation needs.
"""

import re
import sys
from pathlib import Path

HEAD = """\
# Every package that Ridecast and its tests may run with, pinned by version and digest, for Python 3.11 and 3.12.
# Made by `make constraints` from pyproject.toml; used as
#   pip install --require-hashes --no-deps -r constraints.txt && pip install --no-deps --no-build-isolation -e .
# `make demo` installs the packages above the next line of comment only.
"""
LINE = "# --- for tests and plots only ---\n"


def split(everything: str, run: str) -> str:
    """The text of constraints.txt."""
    needed = set(re.findall(r"^([a-z0-9.-]+)==", run, re.MULTILINE))
    blocks = re.findall(r"^[a-z0-9.-]+==.*\n(?:    .*\n)*", everything, re.MULTILINE)
    first = [block for block in blocks if block.split("==")[0] in needed]
    rest = [block for block in blocks if block.split("==")[0] not in needed]
    if len(first) != len(needed):
        raise SystemExit(f"expected {len(needed)} packages to run with among {len(blocks)}, found {len(first)}")
    return HEAD + "".join(first) + LINE + "".join(rest)


if __name__ == "__main__":
    sys.stdout.write(split(*(Path(name).read_text("utf-8") for name in sys.argv[1:3])))
