"""Golden files of the ledger's public formats, as released: `tests/golden/ledger`.

`python -m tests.ledger.golden --write` regenerates them; do so only when a format changes on purpose, with a
new version of its schema and a decision record.
"""

import hashlib
import json
import sys
from pathlib import Path

from tests.ledger.exports import SIGNER, exported
from tests.ledger.issues import WITNESSES, Issued

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "ledger"


def files() -> dict[str, str]:
    """The files that the current code gives: file name -> text."""
    issued = Issued()
    export = exported([index.to_bytes(4, "big") for index in range(700)])
    tiles = {path: hashlib.sha256(data).hexdigest() for path, data in export.files.items()}
    return {
        "forecast.tlog-proof": issued.proof(int(issued.columns.cells[17]), 30),
        "keys.txt": "".join(f"{key.verifier.text()}\n" for key in (SIGNER, *WITNESSES)),
        "tiles.json": json.dumps(tiles, indent=1) + "\n",
    }


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("usage: python -m tests.ledger.golden --write")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, "utf-8")
        print(FOLDER / name)
