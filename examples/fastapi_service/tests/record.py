"""Record what the real model answers: ``python tests/record.py localhost:8500``. Tests replay it without a server."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from pictures import DRAWN, drawn

from tfs_client import PredictClient
from tfs_client.recordings import Recording

FILE = Path(__file__).parent / "recordings" / "digits.tfrecord"


def main() -> None:
    """Call the model as the service does: one picture for each call, after a look at the signature."""
    FILE.parent.mkdir(exist_ok=True)
    recording = Recording(FILE, "rewrite")
    with PredictClient(sys.argv[1], model="digits", validate=True, record=recording) as client:
        for digit in DRAWN:
            image = np.array(drawn(digit), np.float32)[np.newaxis, ..., np.newaxis]
            print(digit, client.predict({"image": image})["digit"][0])


if __name__ == "__main__":
    main()
