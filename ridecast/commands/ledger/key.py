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
def show(home: str | None) -> None:
    """Print the public key, for everyone who checks proofs and checkpoints, and the same key as a cosigner.

    Example: ridecast ledger key show --home home
    """
    from dataflows.stream.signing import verifier_of

    verifier = verifier_of(options.settings_of(home=home))
    click.echo(verifier.text())
    click.echo(f"as cosigner: {verifier.cosigner().text()}")
