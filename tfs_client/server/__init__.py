"""The tiny server: behaves like TensorFlow Serving, for tests, demos and small deployments."""

from tfs_client.server.backends.functions import FunctionServable, FunctionSignature
from tfs_client.server.config import ServerConfig
from tfs_client.server.security import ServerTLS
from tfs_client.server.served import ServedCall
from tfs_client.server.server import Server

__all__ = ["FunctionServable", "FunctionSignature", "ServedCall", "Server", "ServerConfig", "ServerTLS"]
