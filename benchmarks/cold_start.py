"""Time whole processes, from start to exit: importing the client, and one prediction from the shell.

Each command runs several times, alternating with the others. The figures are medians of wall-clock time, and ratios to
the lower bound: the imports that every client needs.

    python benchmarks/cold_start.py [--rounds N]
"""

from __future__ import annotations

import argparse
import compileall
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from measure import alternating, duration, machine, median

import tfs_client
from tfs_client.server import Server
from tfs_client.server.embedded import MODELS

PACKAGE = Path(tfs_client.__file__).parent
PICTURE = Path(__file__).parent.parent / "examples" / "pupper.jpg"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    command = shutil.which("tfs-predict", path=sysconfig.get_path("scripts")) or "tfs-predict"
    compileall.compile_dir(PACKAGE, quiet=1)  # like an installed package; an editable install may not be compiled
    print(machine("grpcio", "numpy", "pillow", "protobuf", "tfs-client"))
    with Server() as server:  # the warm-up runs call it before the first timing
        server.add_model("colors", MODELS["colors"]())
        predict = [command, "--server", server.target, "--model", "colors", "--image", str(PICTURE)]
        groups = {
            "importing the client": {
                "import grpc, numpy": python("import grpc, numpy"),
                "from tfs_client import PredictClient": python("from tfs_client import PredictClient"),
                "... and a client made": python(
                    f"from tfs_client import PredictClient; PredictClient({server.target!r}).close()"
                ),
            },
            "a prediction from the shell": {
                "import grpc, numpy, PIL.Image": python("import grpc, numpy, PIL.Image"),
                "tfs-predict --image pupper.jpg": predict,
            },
        }
        for title, commands in groups.items():
            print(f"\n{title}")
            runs = [
                lambda command=command: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # type: ignore[misc]
                for command in commands.values()
            ]
            medians = [median(times) for times in alternating(*runs, rounds=rounds, warmup=2)]
            for name, seconds in zip(commands, medians, strict=True):
                print(f"  {name:40} {duration(seconds):>8}  {seconds / medians[0]:.3f}")


if __name__ == "__main__":
    main()
