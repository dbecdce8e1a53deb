"""`ridecast ledger key`: the key that signs this installation's checkpoints."""

import click

from ridecast import options


@click.group()
def command() -> None:
    """Create and show the key that signs checkpoints."""


@command.command()
@options.home
def new(home: str | None) -> None:
    """Create a private key, readable only by its owner; an existing key is never overwritten.

    Example: ridecast ledger key new --home home
    """
    from dataflows.stream.signing import key_path, new_key

    settings = options.settings_of(home=home)
    signer = new_key(settings)
    click.echo(f"private key {key_path(settings)}: keep it secret, and keep a copy on another machine")
    click.echo(signer.verifier.text())


@command.command()
@options.home
@click.option("--cosigner", is_flag=True, help="Print the same key in the form that cosigns other logs.")
def show(home: str | None, cosigner: bool) -> None:
    """Print the public key alone, for everyone who checks proofs and checkpoints.

    Example: ridecast ledger check-proof FILE --key "$(ridecast ledger key show --home home)"
    """
    from dataflows.stream.signing import verifier_of

    verifier = verifier_of(options.settings_of(home=home))
    click.echo((verifier.cosigner() if cosigner else verifier).text())
