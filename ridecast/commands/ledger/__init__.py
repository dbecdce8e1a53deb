"""`ridecast ledger`: look into the only memory, prove it, check it."""

import click

from ridecast.lazy import LazyCommands

# Name -> (module, one line for the overview).
COMMANDS: dict[str, tuple[str, str]] = {
    "key": ("key", "Make and show the key that signs checkpoints."),
    "checkpoint": ("checkpoint", "How far a log is, signed; for others to keep."),
    "witness": ("witness", "Cosign what continues, refuse forks: for somebody other than the operator."),
    "cosign": ("cosign", "Have witnesses vouch for the newest checkpoint."),
    "tail": ("tail", "The newest entries of a log, and those that come, one line each."),
    "show": ("show", "One entry, whole, or what a region knew at a time."),
    "diff": ("diff", "Whether two ledgers, or two sizes of a log, say the same."),
    "trace": ("trace", "Where one served number comes from."),
    "prove": ("prove", "A file that proves one served number to whoever has our key."),
    "check-proof": ("check_proof", "What such a file proves; with no database and no network."),
    "verify": ("verify", "Derive everything again from the stored bytes; say what is wrong and where."),
    "replay": ("replay", "Compute past slots again from their rides, and compare."),
    "upgrade": ("upgrade", "Follow the newest version of the fold from a recorded slot on."),
    "export": ("export", "Signed logs as tlog-tiles, and flat tables."),
    "continue": ("continuing", "Go on, on record, with a log that is refused."),
    "archive": ("archive", "Move old entries and blobs to a cheaper disk."),
    "expire": ("expire", "Remove blobs that have had their time, and say so in the ledger."),
}


@click.group(cls=LazyCommands, package="ridecast.commands.ledger", table=COMMANDS)
def command() -> None:
    """Look into the only memory, sign it, prove it, check it, keep it."""
