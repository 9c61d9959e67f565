"""The arguments of tfs-predict."""

from __future__ import annotations

import argparse
import os
import re
from functools import partial

from tfs_client._version import __version__
from tfs_client.cli import credentials, exits
from tfs_client.cli.argument_parser import ArgumentParser
from tfs_client.errors import ConfigError

DEFAULT_SERVER = "localhost:8500"
DEFAULT_EMBEDDED = "colors"
ENGINES = ("local", "ray")  # those of tfs_client.cli.bulk.engines, which need not be imported for one picture
MAX_PIXELS = 1 << 28  # of --size; more is a slip of the finger

_BULK = (
    "input_list",
    "output",
    "resume",
    "overwrite",
    "failures",
    "max_failures",
    "batch_size",
    "in_flight",
    "engine",
    "quiet",
)
_MAGIC = re.compile(r"[*?[]")  # what makes a pattern of a path, for the module glob too

EXAMPLES = """examples:
  tfs-predict --image pupper.jpg --embedded
      a picture through a model that comes with the package; no server needed
  tfs-predict --server localhost:8500 --model resnet --image pupper.jpg --labels imagenet.txt --top 5
  tfs-predict --model deeplab --image street.png --save-mask overlay.png
  tfs-predict --model bert --input 'ids=[[101, 2023, 102]]' --input mask=@mask.npy --json
  TFS_SERVER=tfs:8500 TFS_MODEL=resnet tfs-predict --image pupper.jpg
  tfs-predict --model resnet --image photos/ --output results.jsonl
      a folder; --resume continues an interrupted run
  find /data -name '*.jpg' | tfs-predict --model resnet --input-list - --batch-size 64 --in-flight auto --output r.npz

"""

TABLE = f"""{exits.TABLE}  8  in bulk: done, and some pictures failed
  130  interrupted
"""


def parser() -> ArgumentParser:
    """The parser; its help shows examples and exit codes."""
    parser = ArgumentParser(
        prog="tfs-predict",
        description="Send a picture, or any tensors, to a model in TensorFlow Serving and print what it says. "
        "What you leave out comes from the model's signature: input names, dtypes, sizes.",
        epilog=EXAMPLES + TABLE,
        # A fixed width, for argparse would import shutil and what hangs on it to find out the terminal's.
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=110),
    )
    parser.add_argument("-V", action="version", version=f"tfs-predict {__version__}")

    which = parser.add_argument_group("which model")
    which.add_argument(
        "--server",
        metavar="TARGET",
        help=f"host:port of the gRPC port (TFS_SERVER; default {DEFAULT_SERVER}), or of several replicas, with commas "
        "between them; or http://host:port of the REST port",
    )
    which.add_argument("--model", help="the model's name (TFS_MODEL)")
    which.add_argument("--version", type=int, metavar="N", help="a model version (default: the server's choice)")
    which.add_argument("--label", metavar="NAME", help="a version label, instead of --version")
    which.add_argument("--signature", metavar="NAME", help="the signature to run (default: serving_default)")
    which.add_argument(
        "--embedded",
        action="store_true",
        help="serve the package's own demo models inside this process: colors, digits, half_plus_two, segment "
        f"(default: {DEFAULT_EMBEDDED})",
    )
    which.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        default=30.0,
        help="seconds in all; in bulk for each request (default 30)",
    )

    credentials.add_arguments(parser.add_argument_group("how to reach it"))

    what = parser.add_argument_group("what to send")
    what.add_argument(
        "--image",
        metavar="FILE",
        nargs="+",
        action="extend",
        help="a picture: JPEG, PNG, WebP; or several, folders, and patterns such as 'photos/**/*.jpg'",
    )
    what.add_argument("--image-input", metavar="NAME", help="the input that takes the picture")
    what.add_argument(
        "--input",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an input: VALUE is JSON, or @file.npy; may be given again for other inputs",
    )
    what.add_argument("--size", type=_size, metavar="WxH", help="resize the picture, e.g. 224x224")
    what.add_argument(
        "--scale",
        choices=("raw", "unit", "tf", "torch", "caffe"),
        help="pixel values: raw 0..255, unit 0..1, tf -1..1, torch and caffe by channel means "
        "(default: unit for floats, raw for integers)",
    )
    what.add_argument("--layout", choices=("nhwc", "nchw"), type=str.lower, help="order of the picture's axes")
    what.add_argument("--dtype", metavar="DTYPE", help="numbers to send the picture as, e.g. float32")
    what.add_argument(
        "--formats",
        metavar="LIST",
        help="the picture formats to decode, such as jpeg,png; +NAME adds one, for files that you trust "
        "(default: jpeg,png,webp,gif,bmp,tiff,ppm,avif)",
    )
    what.add_argument(
        "--max-pixels",
        type=_positive,
        metavar="N",
        help="the most pixels a picture may have; larger ones are refused before decoding (default 120 million)",
    )
    what.add_argument("--encoded", action="store_true", help="send the file's own bytes as a string tensor")

    bulk = parser.add_argument_group("in bulk: several pictures, a row of results for each")
    bulk.add_argument(
        "--input-list",
        metavar="FILE",
        action="append",
        default=[],
        help="a file with the path of a picture in each line; - is standard input",
    )
    bulk.add_argument(
        "--output",
        metavar="FILE",
        help="where the rows go: .jsonl, .csv, .npz, .parquet (default: JSON lines on standard output)",
    )
    bulk.add_argument("--resume", action="store_true", help="continue an interrupted run; skip what --output has")
    bulk.add_argument("--overwrite", action="store_true", help="replace --output")
    bulk.add_argument(
        "--failures", metavar="FILE", help="lists pictures that failed, and why (default: OUTPUT.failed.jsonl)"
    )
    bulk.add_argument(
        "--max-failures", type=_count, metavar="N", help="end the run when more pictures failed (default: never)"
    )
    bulk.add_argument("--batch-size", type=_positive, metavar="N", help="pictures in a request (default 32)")
    bulk.add_argument(
        "--in-flight", type=_in_flight, metavar="N", help="requests at a time, or auto for what suits (default 4)"
    )
    bulk.add_argument("--engine", choices=ENGINES, help="what does the work (default: local)")
    bulk.add_argument("--quiet", action="store_true", help="neither progress nor summary")

    show = parser.add_argument_group("what to show")
    show.add_argument("--top", type=_positive, metavar="K", default=5, help="how many labels (default 5)")
    show.add_argument("--labels", metavar="FILE", help="names of the classes, one a line, from class 0 on")
    show.add_argument("--save-mask", metavar="FILE", help="save a segmentation map as an overlay on the picture")
    show.add_argument("--json", action="store_true", help="print everything as one JSON object")
    return parser


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if match is None or "0" in (match[1].lstrip("0") or "0", match[2].lstrip("0") or "0"):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT in pixels, such as 224x224, got {text!r}")
    width, height = int(match[1]), int(match[2])
    if width * height > MAX_PIXELS:
        raise argparse.ArgumentTypeError(f"expected at most {MAX_PIXELS} pixels, got {text}")
    return width, height


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)


def _in_flight(text: str) -> int | str:
    if text != "auto" and not (text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, or auto, got {text!r}")
    return text if text == "auto" else int(text)


def is_bulk(options: argparse.Namespace) -> bool:
    """Whether a command line is about several pictures, or wants what only goes with those."""
    images = options.image or ()
    if len(images) > 1 or any(getattr(options, name) not in (None, False, []) for name in _BULK):
        return True
    return any(os.path.isdir(image) or (_MAGIC.search(image) and not os.path.lexists(image)) for image in images)


def check(options: argparse.Namespace) -> None:
    """Raise ConfigError for arguments that contradict each other."""
    if options.embedded:
        _check_apart(options, "--embedded", credentials.FLAGS, "--embedded makes no connection to a server")
    if options.encoded:
        _check_apart(options, "--encoded", ("size", "scale", "layout", "dtype"), "the file's own bytes are sent")
    names = [argument.partition("=")[0] for argument in options.input]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"--input {twice[0]} was given twice: give one value")
    if options.image_input in names:
        raise ConfigError(f"--image-input and --input both give {options.image_input!r}: give one of them")


def _check_apart(options: argparse.Namespace, flag: str, others: tuple[str, ...], why: str) -> None:
    if found := next((name for name in others if getattr(options, name) not in (None, False, [])), ""):
        raise ConfigError(f"{flag} and --{found} contradict each other ({why}): give one of them")
