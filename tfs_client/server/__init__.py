"""The tiny server: behaves like TensorFlow Serving, for tests, demos and small deployments.

The life of a version, from a directory to its callers and to its end, in the order in which to read:

    lifecycle/source                     polls base paths: which versions are aspired, and where they are
    lifecycle/loader                     loads one version: attempts, pauses, warmup
    lifecycle/states                     the phases of a version, and the legal moves between them
    lifecycle/aspired_version_policy     aspired versions and their states -> the next action
    lifecycle/manager                    performs the actions; basic_manager has the threads and the handles of requests
    lifecycle/core                       applies a configuration: model_list checks it, waiting waits for its models
    methods                              the API methods on arrays, for grpc/ and rest/ alike
    server                               the ports, from start to stop
"""

from tfs_client.server.access.security import ServerTLS
from tfs_client.server.backends.functions import FunctionServable, FunctionSignature
from tfs_client.server.call_record import ServedCall
from tfs_client.server.config import ServerConfig
from tfs_client.server.lifecycle.platforms import PlatformOptions, Platforms
from tfs_client.server.server import Server
from tfs_client.server.server_metrics import ServerMetrics

__all__ = [
    "FunctionServable",
    "FunctionSignature",
    "PlatformOptions",
    "Platforms",
    "ServedCall",
    "Server",
    "ServerConfig",
    "ServerMetrics",
    "ServerTLS",
]
