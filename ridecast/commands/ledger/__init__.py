"""`ridecast ledger`: inspect, prove and verify the ledger."""

import click

from ridecast.lazy import LazyCommands

# Name -> (module, one line for the overview).
COMMANDS: dict[str, tuple[str, str]] = {
    "key": ("key", "Create and show the key that signs checkpoints."),
    "checkpoint": ("checkpoint", "Print a log's signed checkpoint; for others to keep."),
    "witness": ("witness", "Run a witness: cosign consistent checkpoints, refuse forks."),
    "cosign": ("cosign", "Ask witnesses to cosign the newest checkpoint."),
    "tail": ("tail", "Print the newest entries of a log, and follow it, one line each."),
    "show": ("show", "Show one entry in full, or what a region knew at a time."),
    "diff": ("diff", "Compare two ledgers, or two sizes of a log."),
    "trace": ("trace", "Show the lineage of one served number."),
    "prove": ("prove", "Write a file that proves one served number to anyone who has the operator's public key."),
    "check-proof": ("check_proof", "Check such a file, without a database or a network."),
    "verify": ("verify", "Recompute everything from the stored bytes; report what is wrong and where."),
    "replay": ("replay", "Recompute past slots from their rides, and compare."),
    "upgrade": ("upgrade", "Switch to the newest version of the fold at a recorded slot."),
    "release": ("release", "Let a region that is held use its models again."),
    "export": ("export", "Export signed logs as tlog-tiles, and flat tables."),
    "continue": ("continuing", "Continue a refused log, and record the loss."),
    "archive": ("archive", "Move old entries and blobs to a cheaper disk."),
    "expire": ("expire", "Remove blobs past their retention time, and record it."),
}


@click.group(cls=LazyCommands, package="ridecast.commands.ledger", table=COMMANDS)
def command() -> None:
    """Inspect, sign, prove, verify and maintain the ledger."""
