"""The options of ``tfs-admin record``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tfs_client.cli import exits
from tfs_client.cli.admin.common_arguments import ServerOptions, add_server, describe
from tfs_client.cli.argument_parser import ArgumentParser

DESCRIPTION = """Record the calls of a server's callers: listen in front of the server, forward every call unchanged,
and append it to a file.

--server is the server's gRPC port, --rest-server its REST port; point callers to the ports in front of them.
Ctrl-C or SIGTERM ends the recording; the file is complete after every call.
FILE is a TFRecord file of PredictionLogs, which TensorFlow Serving reads as a warmup file. FILE.json has what
a PredictionLog cannot hold: failed calls, metadata and status.

Predict, Classify, Regress, MultiInference, GetModelMetadata and GetModelStatus are recorded. Other methods and
services are forwarded, and counted at the end; so are failed calls over REST whose JSON does not fit a signature
of the server, because it cannot become tensors. Recording does not delay or fail calls: if the file cannot be
written, they are forwarded unrecorded. Tokens of callers are forwarded, but never written."""

EPILOG = f"""examples:
  tfs-admin record --server tfs:8500 -o calls.tfrecord --port 9500
  tfs-admin record --server tfs:8500 --rest-server http://tfs:8501 -o calls.tfrecord --port 9500 --rest-port 9501
  tfs-admin record --server tfs:8500 --tls --token @token.txt -o calls.tfrecord --model resnet

exit codes:
  {exits.OK}    the recording has ended, and every recorded call is in the file
  {exits.FAILED}    the file could not be written
  {exits.USAGE}    usage error: wrong arguments, FILE exists without --append or cannot be written, or a port in use
"""

TIMEOUT = "seconds for a request for signatures (default: 30); calls keep their own deadlines"


@dataclass(frozen=True)
class RecordOptions(ServerOptions):
    """The options of ``tfs-admin record``."""

    command: Literal["record"]
    output: str
    append: bool
    rest_server: str | None
    host: str
    port: int | None
    rest_port: int | None
    model: Sequence[str] | None


def add(parser: ArgumentParser) -> None:
    """Add the options to the parser of the command."""
    describe(parser, RecordOptions, DESCRIPTION, EPILOG)
    add_server(parser, timeout=TIMEOUT)
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the file to write")
    parser.add_argument("--append", action="store_true", help="add to FILE if it exists")
    parser.add_argument("--rest-server", metavar="URL", help="http://host:port of the server's REST port")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, metavar="N", help="the gRPC port to listen on (default: a free one)")
    parser.add_argument("--rest-port", type=int, metavar="N", help="the REST port to listen on (default: a free one)")
    parser.add_argument(
        "--model", metavar="NAME", action="append", help="record calls of this model only; repeat for more"
    )
