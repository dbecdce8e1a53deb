"""`ridecast ledger check-proof`: checks a proof with keys only."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click

from ledger.formats.keys import Verifier, parse_verifier
from ledger.formats.proof import ProvedForecast, check_proof
from schemas.errors import DamagedError, UsageError
from schemas.regions import US_PER_MIN
from schemas.times import iso

BITS_PER_LETTER = 5
FEWEST_LETTERS = 4  # of a cell; `schemas.regions.Region.precision`


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--key", required=True, metavar="KEY|FILE", help="The log's public key, name+id+key, from a source that you trust.")
@click.option("--witness-key", "witness_keys", multiple=True, metavar="KEY|FILE", help="The public key of a witness; may be repeated.")
@click.option("--quorum", type=click.IntRange(0), metavar="N", help="How many witnesses must have cosigned. [default: all that are named]")
@click.pass_context
def command(ctx: click.Context, file: BinaryIO, key: str, witness_keys: tuple[str, ...], quorum: int | None) -> None:
    """Check the proof of a forecast, with no database and no network.

    FILE comes from `ridecast ledger prove` or the API; - for standard input. A proof shows that this number was in
    this log when the checkpoint was signed, and which model made it; not that the number was right.

    Exit codes: 0 proved, 1 not proved, 2 wrong usage.

    Example: ridecast ledger check-proof nyc.tlog-proof --key home/keys/checkpoint.pub
    """
    verifier, witnesses = _key("--key", key), [_key("--witness-key", each) for each in witness_keys]
    wanted = len(witnesses) if quorum is None else quorum
    if wanted > len(witnesses):
        raise UsageError(f"--quorum: expected at most {len(witnesses)}, the number of --witness-key, got {wanted}")
    try:
        text = file.read().decode("utf-8")
        proved = check_proof(text, verifier, witnesses=witnesses, quorum=wanted)
    except (DamagedError, UnicodeDecodeError) as cause:
        click.echo(f"NOT PROVED: {cause}", err=True)
        ctx.exit(1)
    _show(proved, len(witnesses), wanted)


def _key(option: str, given: str) -> Verifier:
    """A key as text, or the one that a file holds."""
    path = Path(given)
    try:
        text = path.read_text("utf-8").strip() if "+" not in given or path.is_file() else given
        return parse_verifier(text)
    except (OSError, UnicodeDecodeError, UsageError) as cause:
        raise UsageError(f"{option}: expected a public key or a file that holds one: {cause}") from None


def _show(proved: ProvedForecast, witnesses: int, quorum: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from ridecast.screen import output_console

    table = Table("what", "proved", title="PROVED", title_justify="left")
    for what, text in _rows(proved, witnesses, quorum):
        table.add_row(what, Text(text))
    output_console().print(table)


def _rows(proved: ProvedForecast, witnesses: int, quorum: int) -> Iterator[tuple[str, str]]:
    """The number, and the evidence for it, outermost last."""
    issued, checkpoint = proved.issued, proved.checkpoint
    until_us = issued.target_us + proved.horizon_min * US_PER_MIN
    yield "forecast", f"{proved.mean_milli / 1000:.3f} {issued.measure} (mean), {proved.median_milli / 1000:g} (median)"
    spread = next((each for each in issued.spread if each.horizon_min == proved.horizon_min), None)
    levels = f", {spread.lower_milli / 10:g} % to {spread.upper_milli / 10:g} %" if spread else ""
    yield "interval", f"{proved.lower_milli / 1000:g} to {proved.upper_milli / 1000:g}{levels}"
    yield "baseline", f"{proved.baseline_milli / 1000:.3f}"
    yield "where", f"region {issued.region}, cell {_cell(proved.cell)}"
    yield "when", f"{iso(issued.target_us)} to {iso(until_us)}, {proved.horizon_min} min"
    yield (
        "made by",
        f"{proved.fallback.value if proved.fallback.value != 'none' else 'own model'}, {issued.family}; slot {issued.slot_status}",
    )
    for model in issued.models:
        yield "model", model.hex()
    yield "features", issued.features_digest.hex()
    yield "issued", f"entry {proved.index} of {checkpoint.origin}, for {issued.cells:,} cells"
    yield "checkpoint", f"{checkpoint.size:,} entries, root {checkpoint.root.hex()}"
    for number, signature in enumerate(proved.signatures):
        when = f", at {datetime.fromtimestamp(signature.time_s, UTC):%Y-%m-%dT%H:%M:%SZ}" if signature.time_s is not None else ""
        yield "cosigned by" if number else "signed by", f"{signature.name}+{signature.key_id.hex()}{when}"
    yield "witnesses", f"{len(proved.signatures) - 1} of {witnesses} named, {quorum} required" if witnesses else "none named"


def _cell(code: int) -> str:
    """The geohash of a code. The proof does not hold its length; only cells in the Antarctic have names that begin with 0."""
    from schemas.events.cells import cell_text

    return cell_text(code, max(FEWEST_LETTERS, -(-code.bit_length() // BITS_PER_LETTER)))
