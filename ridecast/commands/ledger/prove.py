"""`ridecast ledger prove`: writes a file that proves one served number to anyone who has the operator's public key."""

from pathlib import Path

import click

from ridecast import options


@click.command()
@options.home
@click.option("--region", "name", required=True, metavar="NAME", help="A region that is bootstrapped here.")
@click.option("--cell", required=True, metavar="GEOHASH", help="The cell, such as dr5ru7.")
@click.option("--target", required=True, metavar="TIME", help="Start of the window; without a zone it is the region's local time.")
@click.option("--horizon", "horizon_min", required=True, type=click.IntRange(1), metavar="MIN", help="Length of the window, minutes.")
@click.option("--measure", metavar="NAME", help="What was forecast. [default: the region's first]")
@click.option("--out", metavar="FILE", help="Output file; - for standard output. [default: a name made from the arguments]")
def command(home: str | None, name: str, cell: str, target: str, horizon_min: int, measure: str | None, out: str | None) -> None:
    """Write the proof of one forecast: one file that can be checked without a database and without the operator.

    It holds the number, its chunk, the entry that issued it, and the signed checkpoint of the log, each with the path
    to the next (C2SP tlog-proof). Anyone who has our public key can check it with `ridecast ledger check-proof` or
    with the script docs/check_proof.py.

    Example: ridecast ledger prove --home home --region nyc --cell dr5ru7 --target 2014-05-07T18:00 --horizon 15
    """
    from dataflows.audit.prove import prove
    from dataflows.stream.signing import verifier_of
    from dataflows.stream.stores import open_stores
    from ledger.store.files import write_given

    settings = options.settings_of_home(home=home)
    stores = open_stores(settings, reading=True)
    try:
        proof = prove(stores.ledger, stores.blobs, name, cell=cell, target=target, horizon_min=horizon_min, measure=measure)
    finally:
        stores.close()
    if out == "-":
        click.echo(proof.text, nl=False)
        return
    path = Path(out or proof.file_name)
    write_given(path, proof.text.encode("utf-8"))
    click.echo(f"{path}: entry {proof.index} of {proof.log}, {len(proof.text.encode('utf-8')):,} bytes")
    click.echo(f"check it: ridecast ledger check-proof {path} --key {verifier_of(settings).text()}")
