"""The options of ``tfs-admin warmup``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tfs_client.cli.admin.common_arguments import describe, exit_codes
from tfs_client.cli.argument_parser import ArgumentParser

DESCRIPTION = """Write the requests that a server runs when it loads a version, before it serves it.

They are written to VERSION_DIR/assets.extra/tf_serving_warmup_requests, where TensorFlow Serving and tfs-serve look for
them. MODEL_DIR is a version's directory, or a model's (the highest version is used). Every request is checked against
the signatures in saved_model.pb, with the same checks as in a server. If one of them would be refused, nothing
is written. Replies, metadata and failed calls of a recording are left out.

--from-signature makes up its values: zeros, or with --fill random floats in [0, 1), integers 0 and 1, and words. An op
of the model may refuse them, which the signature does not show. A server then does not load the version: try the file
before you deploy it, or use requests of --from or --inputs.

A server refuses a version with more than 1000 requests: use --limit.

--check writes nothing: it checks an existing file, and prints every error with its record and its offset in bytes."""

EPILOG = """examples:
  tfs-admin warmup /models/resnet --from calls.tfrecord --limit 100
  tfs-admin warmup /models/resnet/3 --inputs batch1.npy batch8.npy
  tfs-admin warmup /models/bert --inputs requests.json --signature embed
  tfs-admin warmup /models/resnet --from-signature --batch-size 8 --fill random
  tfs-admin warmup /models/resnet --check
  tfs-admin warmup /models/resnet --check -o warmup.tfrecord

A .npy file is one request of a signature with one required input, a .npz file one with an array for each input. A .json
file is one request, an object from input to values, or a list of requests; strings that are not text are written as
{"b64": "..."}.

"""


@dataclass(frozen=True)
class WarmupOptions:
    """The options of ``tfs-admin warmup``."""

    command: Literal["warmup"]
    model_dir: str | None
    output: str | None
    recording: str | None
    inputs: Sequence[str] | None
    from_signature: bool
    check: bool
    model: str | None
    signature: str | None
    batch_size: int | None
    fill: Literal["zeros", "random"]
    seed: int
    limit: int | None
    overwrite: bool


def add(parser: ArgumentParser) -> None:
    """Add the options to the parser of the command."""
    usage = "wrong arguments, or a file that cannot be used"
    codes = exit_codes("  9    a server would refuse some of the requests\n", usage=usage, server=False)
    describe(parser, WarmupOptions, DESCRIPTION, EPILOG + codes)
    parser.add_argument(
        "model_dir", metavar="MODEL_DIR", nargs="?", help="the model; without it, requests are not checked against one"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="another file than the one in MODEL_DIR")
    source = parser.add_argument_group("source of the requests").add_mutually_exclusive_group(required=True)
    source.add_argument("--from", metavar="RECORDING", dest="recording", help="a recording, or another warmup file")
    source.add_argument(
        "--inputs", metavar="FILE", nargs="+", action="extend", help="inputs in .npy, .npz or .json files"
    )
    source.add_argument("--from-signature", action="store_true", help="one request, made from the signature")
    source.add_argument("--check", action="store_true", help="check an existing file, and write nothing")

    made = parser.add_argument_group("requests")
    made.add_argument("--model", metavar="NAME", help="take the calls of this model from a recording of several")
    made.add_argument("--signature", metavar="NAME", help="signature of the requests (default: serving_default)")
    made.add_argument("--batch-size", type=int, metavar="N", help="rows of a request from the signature (default: 1)")
    made.add_argument(
        "--fill",
        choices=("zeros", "random"),
        default="zeros",
        help="values of a request from the signature (default: %(default)s)",
    )
    made.add_argument("--seed", type=int, default=0, metavar="N", help="seed of random values (default: 0)")
    made.add_argument("--limit", type=int, metavar="N", help="write the first N requests only, at most 1000")
    made.add_argument("--overwrite", action="store_true", help="replace an existing file")
