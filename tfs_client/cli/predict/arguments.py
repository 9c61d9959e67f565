"""The arguments of tfs-predict: its options as an object, and the parser that fills it."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tfs_client import __version__
from tfs_client.cli import credentials, exits
from tfs_client.cli.argument_parser import FORMATTER, ArgumentParser, time_limit
from tfs_client.cli.configuration import DEFAULT_SERVER
from tfs_client.cli.credentials import CredentialOptions
from tfs_client.cli.predict.argument_types import (
    count,
    filled,
    in_flight,
    level,
    numbers,
    offset,
    on_off,
    positive,
    share,
    size,
)

DEFAULT_EMBEDDED = "colors"
ENGINES = ("local", "ray")  # the keys of bulk.engines.ENGINES, which a single picture need not import

_MAGIC = re.compile(r"[*?[]")  # characters that make a path a pattern, as for the module glob


@dataclass(frozen=True, eq=False, repr=False, init=False)  # generating them would take a millisecond
class InputOptions:
    """The options that say what is sent: pictures with their preparation, and inputs by name."""

    image: Sequence[str] | None
    image_input: str | None
    input: Sequence[str]
    preset: str | None
    size: tuple[int, int] | None
    scale: str | None
    layout: str | None
    dtype: str | None
    resize: str | None
    fit: str | None
    pad_value: int | None
    exif: bool | None
    alpha: str | None
    bgr: bool
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    formats: str | None
    max_pixels: int | None
    encoded: bool

    @property
    def drawn(self) -> bool:
        """Whether answers are drawn on the pictures."""
        return False


@dataclass(frozen=True, eq=False, repr=False)
class PredictOptions(CredentialOptions, InputOptions):
    """The options of tfs-predict."""

    server: str | None
    model: str | None
    version: int | None
    label: str | None
    signature: str | None
    embedded: bool
    timeout: float | None

    input_list: Sequence[str]
    output: str | None
    resume: bool
    overwrite: bool
    failures: str | None
    max_failures: int | None
    batch_size: int | None
    in_flight: int | Literal["auto"] | None
    engine: str | None
    quiet: bool

    task: str | None
    output_name: str | None
    top: int | None
    labels: str | None
    labels_offset: int | None
    softmax: bool
    min_score: float | None
    max_detections: int | None
    draw: str | None
    html: str | None
    json: bool

    @property
    def drawn(self) -> bool:
        """Whether answers are drawn on the pictures, in a file or in the report."""
        return self.draw is not None or self.html is not None


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
)

EXAMPLES = """examples:
  tfs-predict --image pupper.jpg --embedded
      a picture, and a model that comes with the package; needs no server
  tfs-predict --server localhost:8500 --model resnet --image pupper.jpg --preset resnet50 --labels imagenet --top 5
      a preset prepares the picture as the model's training did
  tfs-predict --model own --image pupper.jpg --scale tf --resize bicubic --fit crop --labels names.json --softmax
      the same choices one by one: --size, --scale, --mean, --std, --bgr, --resize, --fit, --pad-value, --exif, --alpha
  tfs-predict --model inception --image pupper.jpg --preset inception_v3 --labels names.txt --labels-offset 1
      names.txt starts with "background", which the model lacks
  tfs-predict --model yolo --image street.jpg --preset yolov8 --min-score 0.5 --max-detections 20 --draw boxes.png
  tfs-predict --model deeplab --image street.png --task segment --draw overlay.png --html report.html
  tfs-predict --model clip --image pupper.jpg --scale unit --task embed --output-name embedding --json --quiet
  tfs-predict --model bert --input 'ids=[[101, 2023, 102]]' --input mask=@mask.npy --json
  TFS_SERVER=tfs:8500 TFS_MODEL=resnet tfs-predict --image pupper.jpg --preset resnet50
  tfs-predict --profile staging --image pupper.jpg --preset resnet50
      the server, the model and other options are those of a profile; tfs-admin config shows them
  tfs-predict --model resnet --image photos/ --preset resnet50 --output results.jsonl
      all pictures of a folder; --resume continues an interrupted run
  find /data -name '*.jpg' -print0 | tfs-predict --model resnet --preset resnet50 --input-list - --output results.npz

"""

EXIT_CODES = f"""{exits.table(usage="wrong arguments, an unreadable file, inputs that do not fit the model")}\
  8    several pictures: some of them failed
  130  interrupted
"""


def parse(argv: Sequence[str] | None) -> PredictOptions:
    """Read a command line. Exits as argparse does, by SystemExit, for --help and for wrong arguments."""
    return PredictOptions(**vars(parser().parse_args(argv)))


def parser() -> ArgumentParser:
    """Return the parser; its help shows examples and exit codes."""
    parser = ArgumentParser(
        prog="tfs-predict",
        description="Send a picture, or any tensors, to a model in TensorFlow Serving and print the prediction. Input "
        "names,\ndtypes and picture sizes default to the model's signature.",
        epilog=EXAMPLES + EXIT_CODES,
        formatter_class=FORMATTER,
        allow_abbrev=False,  # a new option must not break scripts that abbreviate another
    )
    parser.add_argument("-V", action="version", version=f"tfs-predict {__version__}", help="print the version and exit")
    _add_model(parser.add_argument_group("model"))
    credentials.add_arguments(parser.add_argument_group("connection"))
    add_inputs(parser.add_argument_group("inputs"))
    add_preparation(parser.add_argument_group("how a picture becomes an input"))
    _add_answers(parser.add_argument_group("what the outputs mean"))
    _add_results(parser.add_argument_group("results"))
    _add_bulk(parser.add_argument_group("several pictures, with one row of results for each"))
    return parser


def _add_model(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--server",
        metavar="TARGET",
        help=f"host:port of the gRPC port (TFS_SERVER; default: {DEFAULT_SERVER}), or of several replicas, separated "
        "by commas; or http://host:port of the REST port",
    )
    group.add_argument("--model", metavar="NAME", help="model name (TFS_MODEL)")
    group.add_argument("--version", type=int, metavar="N", help="model version (default: the server chooses)")
    group.add_argument("--label", metavar="NAME", help="version label, instead of --version (class names: --labels)")
    group.add_argument("--signature", metavar="NAME", help="signature to run (default: serving_default)")
    group.add_argument(
        "--embedded",
        action="store_true",
        help="run one of the package's demo models in this process; --model selects it: "
        f"{DEFAULT_EMBEDDED} (default), digits, half_plus_two, segment or shapes",
    )
    group.add_argument(
        "--timeout",
        type=time_limit,
        metavar="S",
        help="seconds for the whole command; with several pictures, for each request (TFS_TIMEOUT; default: 30)",
    )


def add_inputs(group: argparse._ActionsContainer) -> None:
    """Add the options for what is sent to a group of a parser."""
    group.add_argument(
        "--image",
        metavar="FILE",
        nargs="+",
        action="extend",
        help="one or more pictures (JPEG, PNG, WebP, ...), folders, or patterns such as 'photos/**/*.jpg'",
    )
    group.add_argument("--image-input", type=filled, metavar="NAME", help="name of the input that receives the picture")
    group.add_argument(
        "--input",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an input by name: VALUE is JSON or @file.npy; repeat for more inputs",
    )
    group.add_argument(
        "--encoded",
        action="store_true",
        help="send the file's bytes, to an input of strings; the default for such inputs",
    )


def add_preparation(group: argparse._ActionsContainer) -> None:
    """Add the options for the preparation of pictures to a group of a parser."""
    group.add_argument(
        "--preset",
        type=filled,
        metavar="NAME",
        help="prepare the picture as a published model expects: resnet50, mobilenet_v2, ... (all of "
        "keras.applications), torchvision, tfhub, yolov8",
    )
    group.add_argument("--size", type=size, metavar="WxH", help="resize the picture, e.g. 224x224")
    group.add_argument(
        "--scale",
        choices=("raw", "unit", "tf", "torch", "caffe"),
        help="pixel values: raw 0..255, unit 0..1, tf -1..1, torch and caffe by channel means "
        "(default: raw for integers; unit for floats, with a warning)",
    )
    group.add_argument(
        "--mean",
        type=numbers,
        metavar="N,N,N",
        help="subtract from each channel as sent, in the units of --scale; write --mean=-1,0,1 if the first is "
        "negative",
    )
    group.add_argument("--std", type=numbers, metavar="N,N,N", help="divide each channel by this, after --mean")
    group.add_argument("--bgr", action="store_true", help="send the channels as blue, green, red")
    group.add_argument(
        "--resize",
        choices=("nearest", "bilinear", "bicubic", "lanczos", "area", "tf-bilinear"),
        help="resize method (default: bilinear, antialiased as by Pillow); tf-bilinear is tf.image.resize",
    )
    group.add_argument(
        "--fit",
        choices=("stretch", "crop", "pad"),
        help="how a picture of another shape fills the size: stretched, cropped in the centre, or with a border "
        "(default: stretch)",
    )
    group.add_argument("--pad-value", type=level, metavar="N", help="border of --fit pad, 0..255 (default: 0)")
    group.add_argument(
        "--exif",
        type=on_off,
        metavar="on|off",
        help="turn the picture upright by its EXIF orientation (default: on)",
    )
    group.add_argument(
        "--alpha",
        choices=("white", "black", "drop"),
        help="colour behind transparent parts; drop ignores transparency (default: white)",
    )
    group.add_argument("--layout", choices=("nhwc", "nchw"), type=str.lower, help="order of the picture's axes")
    group.add_argument("--dtype", type=filled, metavar="DTYPE", help="dtype of the picture as sent, e.g. float32")
    group.add_argument(
        "--formats",
        type=filled,
        metavar="LIST",
        help="picture formats to decode, e.g. jpeg,png; +NAME adds one, for files that you trust "
        "(default: jpeg,png,webp,gif,bmp,tiff,ppm,avif)",
    )
    group.add_argument(
        "--max-pixels",
        type=positive,
        metavar="N",
        help="refuse larger pictures before decoding them (default: 120 million pixels)",
    )


def _add_bulk(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--input-list",
        metavar="FILE",
        action="append",
        default=[],
        help="a file with one picture path per line, or with a NUL byte after each; - reads standard input",
    )
    group.add_argument(
        "--output",
        metavar="FILE",
        help="write rows to FILE: .jsonl, .csv, .npz or .parquet (default: JSON lines on standard output)",
    )
    group.add_argument(
        "--resume", action="store_true", help="continue an interrupted run: skip pictures that --output already has"
    )
    group.add_argument("--overwrite", action="store_true", help="replace --output")
    group.add_argument(
        "--failures",
        metavar="FILE",
        help="list failed pictures and their errors in FILE (default: OUTPUT.failed.jsonl)",
    )
    group.add_argument(
        "--max-failures",
        type=count,
        metavar="N",
        help="stop once more than N pictures have failed (default: never)",
    )
    group.add_argument("--batch-size", type=positive, metavar="N", help="pictures per request (default: 32)")
    group.add_argument(
        "--in-flight",
        type=in_flight,
        metavar="N",
        help="concurrent requests; auto adapts the number to the server (default: 4)",
    )
    group.add_argument("--engine", choices=ENGINES, help="run on this machine or on a Ray cluster (default: local)")


def _add_answers(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--task",
        choices=("classify", "detect", "segment", "embed"),
        help="what the outputs are (default: recognised by their names, dtypes and shapes)",
    )
    group.add_argument("--output-name", type=filled, metavar="NAME", help="which output is meant, if several could be")
    group.add_argument("--top", type=positive, metavar="K", help="number of labels to print (default: 5)")
    group.add_argument(
        "--labels",
        type=filled,
        metavar="FILE",
        help="class names, one for each class: a text file with one per line, starting with class 0 (TensorFlow Object "
        "Detection API: class 1), CSV, JSON or a label map (.pbtxt); or imagenet, for the 1000 classes of ImageNet",
    )
    group.add_argument(
        "--labels-offset",
        type=offset,
        metavar="N",
        help="label of class 0: 1 skips a first label 'background', -1 adds one (default: 0; for detectors that count "
        "from 1, names without numbers start at class 1, with a warning)",
    )
    group.add_argument("--softmax", action="store_true", help="the scores are logits: turn them into probabilities")
    group.add_argument("--min-score", type=share, metavar="X", help="lowest score of a detection (default: 0.25)")
    group.add_argument(
        "--max-detections",
        type=positive,
        metavar="N",
        help="largest number of detections in a picture (default: 100)",
    )


def _add_results(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--draw",
        "--save-mask",
        type=filled,
        metavar="PATH",
        help="draw boxes, names and masks on the picture, into a file (.png, .jpg, ...); for several pictures, into a "
        "folder",
    )
    group.add_argument(
        "--html", type=filled, metavar="FILE", help="write a report with pictures and results, in one file"
    )
    group.add_argument("--json", action="store_true", help="print all results as one JSON object")
    group.add_argument(
        "--quiet",
        action="store_true",
        help="print no progress, no summary, no line about how pictures were prepared and no warning about assumptions",
    )


def is_given(options: InputOptions, name: str) -> bool:
    """Whether the command line has an option; ``--exif off`` is one, too."""
    value = getattr(options, name)
    return value is not None and value != [] and (value is not False or name == "exif")


def is_bulk(options: PredictOptions) -> bool:
    """Whether a command line names several pictures, or has options that only apply to several."""
    images = options.image or ()
    if len(images) > 1 or any(is_given(options, name) for name in _BULK):
        return True
    return any(os.path.isdir(image) or (_MAGIC.search(image) and not os.path.lexists(image)) for image in images)
