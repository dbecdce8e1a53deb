"""A witness cosigns only consistent checkpoints: with the checks and statuses of C2SP tlog-witness."""

import pytest
from hypothesis import given, strategies as st

from ledger.formats.checkpoint import Checkpoint, origin_of, parse_checkpoint
from ledger.formats.keys import Signer
from ledger.formats.merkle import Tree, consistency_path, leaf_hash
from ledger.formats.note import open_note, sign_note
from ledger.formats.witness import Cosigned, Refusal, Refused, Submission, check_submission, consider, parse_submission, with_cosignature
from schemas.errors import DamagedError

LOG = Signer("ridecast/test", bytes(32))
WITNESS = Signer("witness.example/one", bytes(range(32))).cosigner()
LEAVES = [leaf_hash(b"entry %d" % i) for i in range(70)]
FORK = [*LEAVES[:5], leaf_hash(b"another"), *LEAVES[6:]]


def signed(size: int, leaves: list[bytes] = LEAVES, signer: Signer = LOG, log: str = "control") -> str:
    """A checkpoint of the first entries."""
    return sign_note(Checkpoint(origin_of("test", log), size, Tree(leaves[:size]).root()).body(), signer)


def submission(old: int, size: int, leaves: list[bytes] = LEAVES) -> Submission:
    """A checkpoint with the proof that it continues the tree of an older size."""
    tree = Tree(leaves[:size])
    return Submission(old, tuple(consistency_path(old, size, tree.node)) if old else (), signed(size, leaves))


def answer(submitted: Submission, last: int | None, leaves: list[bytes] = LEAVES) -> Cosigned | Refusal:
    """The answer of a witness that last cosigned a size."""
    found = check_submission(submitted, [LOG.verifier])
    if isinstance(found, Refusal):
        return found
    known = None if last is None else parse_checkpoint(signed(last, leaves))
    return consider(submitted, found, known, WITNESS, 1_400_000_000)


@given(st.integers(0, 70), st.integers(0, 70))
def test_a_consistent_checkpoint_is_cosigned(old: int, more: int) -> None:
    """Any later size of the same log is cosigned, and the cosignature opens with the witness's key."""
    size = min(old + more, 70)
    result = answer(submission(old, size), old or None)
    assert isinstance(result, Cosigned)
    note = with_cosignature(signed(size), result.line, WITNESS.verifier)
    assert [("ridecast/test", None), ("witness.example/one", 1_400_000_000)] == [
        (made.name, made.time_s) for made in open_note(note, [LOG.verifier, WITNESS.verifier]).signatures
    ]
    assert result.note == note


@given(st.integers(6, 69), st.integers(6, 70))
def test_a_fork_is_never_cosigned(old: int, size: int) -> None:
    """A log that changed an entry below the cosigned size is refused, and its signed checkpoint is kept as evidence."""
    size = max(old, size)
    result = answer(submission(old, size, FORK), old, LEAVES)
    assert isinstance(result, Refusal)
    assert (Refused.CONFLICT if size == old else Refused.INCONSISTENT, True) == (result.reason, result.suspicious)


def test_a_rollback_is_refused_with_the_size() -> None:
    """A smaller checkpoint than the last is refused, with the size that was cosigned; no proof can lead there."""
    assert Refusal(Refused.CONFLICT, "ridecast/test/control: the last cosigned size is 40, the proof starts at 0", 40) == answer(
        submission(0, 30), 40
    )
    back = answer(Submission(40, (), signed(30)), 40)
    assert isinstance(back, Refusal)
    assert Refused.MALFORMED == back.reason


@pytest.mark.parametrize(
    ("submitted", "reason"),
    [
        (Submission(0, (), signed(7, signer=Signer("ridecast/test", bytes(31) + b"\1"))), Refused.UNTRUSTED),
        (Submission(0, (), signed(7, signer=Signer("other", bytes(32)))), Refused.UNTRUSTED),
        (Submission(0, (), sign_note("ridecast/other/control\n0\nAAAA\n", LOG)), Refused.UNKNOWN_LOG),
        (Submission(0, (), sign_note("ridecast/test/control\n0\nAAAA\n", LOG)), Refused.MALFORMED),
        (Submission(0, (), "no note\n"), Refused.MALFORMED),
        (Submission(0, (LEAVES[0],), signed(7)), Refused.INCONSISTENT),
        (Submission(8, (), signed(7)), Refused.MALFORMED),
    ],
    ids=["another key", "another name", "another log", "short root", "no note", "path from nothing", "old above new"],
)
def test_refusals_have_the_status_of_the_specification(submitted: Submission, reason: Refused) -> None:
    """Each rule of tlog-witness has its own status."""
    result = answer(submitted, None)
    assert isinstance(result, Refusal)
    assert reason == result.reason


def test_a_proof_of_another_length_is_refused() -> None:
    """A proof with missing, extra or changed hashes is refused."""
    good = submission(13, 50)
    for path in (good.path[:-1], (*good.path, LEAVES[0]), (LEAVES[3], *good.path[1:]), ()):
        result = answer(Submission(13, path, good.note), 13)
        assert isinstance(result, Refusal)
        assert Refused.INCONSISTENT == result.reason


@given(st.integers(0, 2**63 - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_submissions_round_trip(old: int, path: list[bytes]) -> None:
    """Every submission is parsed again from its text."""
    written = Submission(old, tuple(path), signed(3))
    assert written == parse_submission(written.text())


MANY_HASHES = "old 1\n" + ("A" * 43 + "=\n") * 64 + "\nn\n"


@pytest.mark.parametrize(
    "text", ["", "old 1\n", "old 01\n\nn\n", "old -1\n\nn\n", "old 1\nxx\n\nn\n", "old 1\nAAAA\n\nn\n", "new 1\n\nn\n", MANY_HASHES]
)
def test_an_invalid_submission_is_refused(text: str) -> None:
    """A body of another form is refused with a message."""
    with pytest.raises(DamagedError, match=r"^submission: expected"):
        parse_submission(text)


def test_an_answer_of_another_witness_is_not_accepted() -> None:
    """Only the cosignature of the requested witness is added to the checkpoint."""
    result = answer(submission(0, 9), None)
    assert isinstance(result, Cosigned)
    other = Signer("witness.example/two", bytes(32)).cosigner()
    with pytest.raises(DamagedError, match="expected a signature of a known key"):
        with_cosignature(signed(9), result.line, other.verifier)
    with pytest.raises(DamagedError, match="does not match the text"):
        with_cosignature(signed(8), result.line, WITNESS.verifier)
