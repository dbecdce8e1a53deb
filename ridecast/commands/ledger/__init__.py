"""`ridecast ledger`: look into the only memory, prove it, check it."""

import click

from ridecast.lazy import LazyCommands

# Name -> (module, one line for the overview).
COMMANDS: dict[str, tuple[str, str]] = {
    "tail": ("tail", "The newest entries of a log, one line each."),
    "show": ("show", "One entry, whole, as JSON."),
    "prove": ("prove", "A file that proves one served number to whoever has our key."),
    "check-proof": ("check_proof", "What such a file proves; with no database and no network."),
    "verify": ("verify", "Derive everything again from the stored bytes; say what is wrong and where."),
    "replay": ("replay", "Compute past slots again from their rides, and compare."),
    "expire": ("expire", "Remove blobs that have had their time, and say so in the ledger."),
    "upgrade": ("upgrade", "Follow the newest version of the fold from a recorded slot on."),
    "export": ("export", "Signed logs as tlog-tiles, and flat tables."),
}


@click.group(cls=LazyCommands, package="ridecast.commands.ledger", table=COMMANDS)
def command() -> None:
    """Look into the ledger: tail, show, verify, export."""
