"""Small ways to break the code, each of which some test must notice: `python -m tests.mutants` (`make mutants`).

Every mutant is one edit, made in a copy of the tree in a temporary folder; then the tests that should notice it run.
It fails when a mutant survives without an argument why it must, or when the text that it replaces no longer occurs
exactly once.

    python -m tests.mutants            all of them
    python -m tests.mutants drift lag  those whose description holds one of the words
    python -m tests.mutants --third    a third: first what changed lately, then by turns from day to day
    python -m tests.mutants --green    all of them, without running their tests unbroken before
    python -m tests.mutants --remember and note in tests/mutant_lists/noticed_by.json which test noticed each

The test that noticed a mutant the last time runs first and alone, which is quicker; if it notices nothing, or is no
longer there, all tests of the mutant run, so a mutant that some test notices is never taken to survive. A third is for
who has just seen the whole suite pass, as CI has, so it does not run tests unbroken either.
"""

import hashlib
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.mutant_lists import MUTANTS, Mutant
from tests.mutant_worker import NO_TESTS, ROOT, Outcome, attempt, settle, unbroken

AT_ONCE = 2
LATELY = 20  # commits
MAIN = "origin/main"
GREEN = {"--third", "--green"}  # both take the tests to pass when nothing is broken
OPTIONS = {*GREEN, "--remember"}
NOTED = ROOT / "tests" / "mutant_lists" / "noticed_by.json"  # the test that noticed each mutant, by what it does


def third(mutants: Sequence[Mutant], changed: set[str], turn: str) -> list[Mutant]:
    """A third of them: those in changed files first, then the others, both in an order that `turn` decides."""

    def order(mutant: Mutant) -> tuple[bool, bytes]:
        return mutant.file not in changed, hashlib.sha256(f"{turn} {mutant.what}".encode()).digest()

    return sorted(mutants, key=order)[: -(-len(mutants) // 3)]


def changed_lately() -> tuple[set[str], str]:
    """Files that differ from where this branch left the main one, or from some commits ago; and the day of the current commit.

    In a shallow clone the oldest commit that is there stands in; without git nothing has changed.
    """
    here = git("rev-parse", "HEAD")
    base = git("merge-base", "HEAD", MAIN)
    if not base or base == here:
        known = git("rev-list", "--first-parent", f"--max-count={LATELY + 1}", "HEAD").split()
        base = known[-1] if known else ""
    return set(git("diff", "--name-only", base).splitlines()) if base else set(), git("show", "-s", "--format=%cs", "HEAD").strip()


def git(*command: str) -> str:
    """What git says, or nothing where it does not know or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def main(wanted: Sequence[str]) -> int:
    """Try mutants; 1 when one survives unargued."""
    began = time.monotonic()
    words = [word for word in wanted if word not in OPTIONS]
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.what for word in words)]
    if "--third" in wanted:
        chosen = third([mutant for mutant in chosen if not mutant.argued], *changed_lately())
    names = [] if GREEN & set(wanted) else sorted({name for mutant in chosen for name in mutant.tests})
    outcomes, noted = list[Outcome](), json.loads(NOTED.read_text("utf-8"))
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(AT_ONCE, context, settle, (folder,)) as pool:
        # Unbroken, everything passes: else a failure would prove nothing.
        for status, said in pool.map(unbroken, [names[turn::AT_ONCE] for turn in range(AT_ONCE)]):
            if status not in (0, NO_TESTS):
                print(f"the tests fail before anything is broken:\n{said[-2_000:]}")
                return 1
        print(f"{len(chosen)} mutants of {len(MUTANTS)}; ready after {time.monotonic() - began:.0f} s", flush=True)
        for outcome in pool.map(attempt, chosen, [likely(mutant, noted) for mutant in chosen]):
            show(outcome)
            outcomes.append(outcome)
    if "--remember" in wanted:
        NOTED.write_text(json.dumps(remembered(noted, outcomes), indent=0, sort_keys=True) + "\n", "utf-8")
    return summary(outcomes, time.monotonic() - began)


def likely(mutant: Mutant, noted: Mapping[str, str]) -> str:
    """The test that noticed it the last time, if it is one of its tests; or nothing."""
    test = noted.get(mutant.what, "")
    return test if any(test == name or test.startswith(f"{name}::") for name in mutant.tests) else ""


def remembered(noted: Mapping[str, str], outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Which test noticed each mutant that there is, the newest outcomes first; without parameters, which change more often."""
    found = {outcome.mutant.what: outcome.noticed_by.partition("[")[0] for outcome in outcomes if "::" in outcome.noticed_by}
    return {mutant.what: test for mutant in MUTANTS if (test := found.get(mutant.what) or noted.get(mutant.what))}


def show(outcome: Outcome) -> None:
    """One line for each mutant."""
    argued = f"argued: {outcome.mutant.argued}" if outcome.mutant.argued and outcome.wrong == "SURVIVED" else ""
    print(f"{outcome.mutant.what:<52} {outcome.seconds:5.1f} s  {outcome.noticed_by or argued or outcome.wrong}", flush=True)


def summary(outcomes: Sequence[Outcome], seconds: float) -> int:
    """What it came to; 1 when one survived unargued."""
    noticed = [outcome for outcome in outcomes if outcome.noticed_by]
    argued = [outcome for outcome in outcomes if outcome.wrong == "SURVIVED" and outcome.mutant.argued]
    for outcome in noticed:
        if outcome.mutant.argued:
            print(f"{outcome.mutant.what}: was noticed; its argument can go")
    left = len(outcomes) - len(noticed) - len(argued)
    print(f"{len(outcomes)} mutants in {seconds:.0f} s: {len(noticed)} noticed, {len(argued)} argued, {left} neither")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
