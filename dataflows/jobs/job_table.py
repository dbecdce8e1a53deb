"""Which jobs can be scheduled: the words of the command that each one runs, and which arguments a definition must add."""

from dataclasses import dataclass
from types import MappingProxyType

from schemas.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """One kind of job.

    Attributes:
        words: Of the `ridecast` command that does the work.
        says: What it does.
        region: Whether the command takes `--region`, which the region of a definition then sets.
        needs: Options that a definition must give as arguments.
    """

    name: str
    words: tuple[str, ...]
    says: str
    region: bool = True
    needs: tuple[str, ...] = ()


ROWS = (
    JobKind(name="retrain", words=("train",), says="Train a model on the recorded counts, as challenger; with --promote as champion."),
    JobKind(name="expire", words=("ledger", "expire"), says="Remove chunks of old forecasts and blobs without entries.", region=False),
    JobKind(
        name="archive",
        words=("ledger", "archive"),
        says="Move entries before a local day to the archive.",
        needs=("--to", "--until"),
    ),
    JobKind(name="verify", words=("ledger", "verify"), says="Compute everything again from the stored bytes.", region=False),
    JobKind(
        name="cosign",
        words=("ledger", "cosign"),
        says="Ask witnesses to cosign the newest checkpoint of a log.",
        region=False,
        needs=("--witness",),
    ),
    JobKind(name="fairness", words=("fairness",), says="Compare the errors of the classes of a region's areas; fails at a clear gap."),
    JobKind(
        name="reconcile",
        words=("reconcile", "--alert"),
        says="Compare the online store, topic, MLflow and snapshots with the ledger; with --repair repair them.",
    ),
    JobKind(
        name="report",
        words=("ledger", "export"),
        says="Export tables for analysts, or tiles for auditors.",
        region=False,
    ),
)
KINDS_OF_JOBS = MappingProxyType({row.name: row for row in ROWS})


def kind_of_job(name: str) -> JobKind:
    """The row of a job.

    Raises:
        UsageError: there is none of this name.

    >>> kind_of_job("verify").words
    ('ledger', 'verify')
    """
    try:
        return KINDS_OF_JOBS[name]
    except KeyError:
        raise UsageError(f"job: expected one of {', '.join(KINDS_OF_JOBS)}, got {name!r}") from None


def words_of_job(job: str, arguments: tuple[str, ...], region: str) -> list[str]:
    """The words after `ridecast` that run a job.

    Raises:
        UsageError: there is no such job, or an argument that it needs is missing.

    >>> words_of_job("retrain", ("--promote",), "nyc")
    ['train', '--region', 'nyc', '--promote']
    """
    kind = kind_of_job(job)
    given = {argument.partition("=")[0] for argument in arguments}
    if missing := [option for option in kind.needs if option not in given]:
        raise UsageError(f"job {job}: expected the arguments {', '.join(kind.needs)}, got none of {', '.join(missing)}")
    if "--home" in given:
        raise UsageError(f"job {job}: expected no --home among its arguments: a job works on the home that it is defined in")
    chosen = ["--region", region] if region and kind.region else []
    return [*kind.words, *chosen, *arguments]
