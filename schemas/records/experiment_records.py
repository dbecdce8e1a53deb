"""Records of experiments with two arms, in the `control` log. `schemas.records.records` re-exports these."""

from dataclasses import dataclass
from enum import StrEnum


class EndCause(StrEnum):
    """Why an experiment was stopped by a record of its own."""

    COMMAND = "command"  # somebody said so
    DECIDED = "decided"  # it found a difference, and was started to run until then
    FAILED = "failed"  # the challenger's code or artefact raised at a close


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentStarted:
    """From the next close on, a challenger serves some of the cells of a region and measure in some blocks of time.

    Cell c of slot s is served by the challenger if splitmix64(cluster ^ splitmix64(key ^ s // block_slots)) >> 11 is below
    share_milli * 2**53 // 1000, where cluster = c >> 5 * levels and key = the first 8 bytes of SHA-256(seed), and if the champion
    would serve it with its own model. It runs in slots [start_slot, until_slot), until it is stopped or its champion changes.
    """

    region: str
    measure: str
    experiment: str  # its id, unique in its region and measure
    champion: bytes  # digest of arm A, which serves the rest
    challenger: bytes  # digest of arm B
    seed: str
    share_milli: int  # of the clusters that the challenger serves in a block, 1/1000
    block_slots: int
    levels: int  # a cluster is all cells with the same geohash but for its last so many letters
    washout_slots: int  # so many slots at the start of each block are not compared
    start_slot: int  # the first of a block
    until_slot: int
    loss: str  # that decides: "absolute" error of the median or "square" error of the mean
    until_decided: bool  # stop as soon as a difference is found
    author: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentStopped:
    """From the next close on, the champion serves every cell again. Numbers as text with six digits, empty for none."""

    region: str
    measure: str
    experiment: str
    cause: str
    finding: str  # about the challenger: better, worse or undecided
    blocks: int  # that were compared
    change: str  # of the loss by the challenger, relative to the champion's
    lower: str
    upper: str
    author: str
    reason: str
