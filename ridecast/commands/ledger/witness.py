"""`ridecast ledger witness`: a small witness, run by someone other than the operator of the logs."""

import os
from pathlib import Path

import click

from ledger.formats.keys import KEY_SIZE_BYTES, Signer, parse_verifier
from ledger.store.key_files import create_signer, read_signer
from schemas.errors import UsageError


@click.command()
@click.option("--name", required=True, metavar="NAME", help="Name of this witness, such as witness.example.com/one.")
@click.option("--log-key", "log_keys", required=True, multiple=True, metavar="VKEY", help="Public key of an operator to watch; repeatable.")
@click.option(
    "--state", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of its state and its key; back it up."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8100, show_default=True, type=click.IntRange(0, 65_535), help="Port to listen at; 0 for any free one.")
def command(name: str, log_keys: tuple[str, ...], state: Path, host: str, port: int) -> None:
    """Cosign checkpoints that extend those cosigned before; refuse forks and rollbacks.

    Any client of the C2SP tlog-witness protocol may submit; only logs of the given keys are cosigned. Checkpoints
    that contradict earlier ones are kept under evidence/ in the state folder. Ctrl-C stops it.

    \b
    Example:
      ridecast ledger witness --name witness.example.com/one --log-key "$(ridecast ledger key show --home home)" --state witness
    """
    from api.witness import serve_witness
    from dataflows.stream.stopping import stop_on_signals

    path = state / "witness.key"
    signer = read_signer(path)
    if signer is None:
        if state.is_dir() and any(state.glob("*.txt")):
            raise UsageError(
                f"--state: {path} is missing, but this witness has cosigned: restore the key, or start with a new folder and name"
            )
        create_signer(path, Signer(name, os.urandom(KEY_SIZE_BYTES)))
        signer = read_signer(path)
        assert signer is not None
    if signer.name != name:
        raise UsageError(f"--name: expected {signer.name!r}, whose key is in {state}, got {name!r}")
    verifiers = [parse_verifier(text) for text in log_keys]

    def on_start(url: str) -> None:
        click.echo(f"witness {name} at {url}; its key: {signer.cosigner().verifier.text()}")

    serve_witness(host, port, state, signer.cosigner(), verifiers, stop_on_signals(), on_start)
