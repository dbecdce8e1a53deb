"""`ridecast ledger key`: the key that signs this installation's checkpoints."""

import click

from ridecast import options


@click.group()
def command() -> None:
    """Make and show the key that signs checkpoints."""


@command.command()
@options.home
def new(home: str | None) -> None:
    """Make a private key, for its owner only; one that is there is never overwritten.

    Example: ridecast ledger key new --home home
    """
    from dataflows.stream.signing import key_path, new_key

    settings = options.settings_of(home=home)
    signer = new_key(settings)
    click.echo(f"private key {key_path(settings)}, which nobody else may see; keep a copy where the disk of this machine cannot take it")
    click.echo(signer.verifier.text())


@command.command()
@options.home
def show(home: str | None) -> None:
    """The public key, for everybody who checks proofs and checkpoints; and the same key as it cosigns.

    Example: ridecast ledger key show --home home
    """
    from dataflows.stream.signing import verifier_of

    verifier = verifier_of(options.settings_of(home=home))
    click.echo(verifier.text())
    click.echo(f"as cosigner: {verifier.cosigner().text()}")
