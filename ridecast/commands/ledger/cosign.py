"""`ridecast ledger cosign`: asks witnesses to cosign a log's newest checkpoint."""

import click

from ledger.formats.keys import Algorithm, parse_verifier
from ridecast import options
from ridecast.commands.ledger.log_choice import log_option, pick_log
from schemas.errors import UsageError


@click.command()
@options.home
@log_option
@click.option(
    "--witness", "witnesses", required=True, multiple=True, nargs=2, metavar="URL VKEY", help="A witness and its key; repeatable."
)
def command(home: str | None, log_name: str | None, witnesses: tuple[tuple[str, str], ...]) -> None:
    """Ask witnesses to cosign the newest checkpoint of a log, and print it with their signatures.

    The result is stored beside the checkpoint, and proofs use it until a newer one exists. A witness refuses a log
    that was rolled back or forked: exit code 1.

    Example: ridecast ledger cosign --home home --witness http://127.0.0.1:8100 'witness.example.com/one+...'
    """
    from dataflows.audit.cosign import WitnessPlace, cosign
    from dataflows.stream.stores import open_stores

    places = [WitnessPlace(url, parse_verifier(text)) for url, text in witnesses]
    for place in places:
        if place.verifier.algorithm is not Algorithm.COSIGNATURE:
            raise UsageError(f"--witness: expected the key of a witness, got {place.verifier.name}'s key of another kind")
        if not place.url.startswith(("http://", "https://")):
            raise UsageError(f"--witness: expected http://HOST:PORT or https://..., got {place.url!r}")
    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        click.echo(cosign(stores.ledger, pick_log(stores.ledger, log_name), places), nl=False)
    finally:
        stores.close()
