"""The tiny server: behaves like TensorFlow Serving, for tests, demos and small deployments.

How a version gets from a directory to its callers, and away again, in the order in which to read:

    source       looks at base paths: which versions are wanted, and where they are
    loader       one version's way into memory: attempts, pauses, warmup
    policy       wanted versions and what has become of each -> what to do next
    states       the phases of a version, and the moves between them
    manager      does what the policy says; basic_manager has the threads, and the handles that requests hold
    core         applies a configuration: model_list checks it, waiting waits for its models
    methods      the API methods on arrays, for grpc_service and rest alike
    server       the ports, from start to stop
"""

from tfs_client.server.backends.functions import FunctionServable, FunctionSignature
from tfs_client.server.config import ServerConfig
from tfs_client.server.security import ServerTLS
from tfs_client.server.served import ServedCall
from tfs_client.server.server import Server

__all__ = ["FunctionServable", "FunctionSignature", "ServedCall", "Server", "ServerConfig", "ServerTLS"]
