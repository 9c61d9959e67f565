"""The options of TensorFlow's sessions, derived from flags as in the model server.

Source: model_servers/server.cc and main.cc; servables/tensorflow/saved_model_bundle_factory.cc.
"""

from __future__ import annotations

import ctypes
import logging
import os
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from tfs_client.server.files import proto_files

if TYPE_CHECKING:
    from google.protobuf.message import Message

log: logging.Logger = logging.getLogger("tfs_client.server")

BFLOAT16 = "bfloat16"

_TF_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib")
_DISABLE_XLA = "_ZN10tensorflow21DisableXlaCompilationEv"  # void tensorflow::DisableXlaCompilation()


@dataclass(frozen=True)
class SessionOptions:
    """The options of a session.

    Attributes:
        config: a ConfigProto, whose thread counts and GPU fraction are ignored; None: TensorFlow's defaults.
        intra_op, inter_op: threads within an op, and for concurrent ops; 0 lets TensorFlow choose. All models of the
            process share them, with the numbers of the first one.
        gpu_memory_fraction: the share of a GPU's memory that the process may use; 0 lets TensorFlow choose.
        mixed_precision: "bfloat16" lets oneDNN compute with bfloat16 where it is faster.
        xla: False makes calls of functions with ``jit_compile=True`` fail, for all models of the process.
    """

    config: Message | None = None
    intra_op: int = 0
    inter_op: int = 0
    gpu_memory_fraction: float = 0.0
    mixed_precision: str = ""
    xla: bool = True

    def __post_init__(self) -> None:
        if self.mixed_precision not in ("", BFLOAT16):
            log.warning("%s auto mixed precision is not supported. Valid option: bfloat16", self.mixed_precision)

    def config_proto(self) -> Message:
        """Return the ConfigProto of a session."""
        config = import_module("tensorflow.core.protobuf.config_pb2").ConfigProto()
        if self.config is not None:
            config.CopyFrom(self.config)
        config.gpu_options.per_process_gpu_memory_fraction = self.gpu_memory_fraction
        config.intra_op_parallelism_threads = self.intra_op
        config.inter_op_parallelism_threads = self.inter_op
        if self.mixed_precision == BFLOAT16:
            log.info("Running inference with bfloat16 auto mixed precision")
            rewrites = config.graph_options.rewrite_options
            rewrites.auto_mixed_precision_onednn_bfloat16 = rewrites.ON
        made: Message = config
        return made


def read(file: str) -> Message:
    """Read a ConfigProto from a file of protobuf text. Imports TensorFlow, which defines it. Raises CallError."""
    config: Message = proto_files.message(file, import_module("tensorflow.core.protobuf.config_pb2").ConfigProto)
    return config


def disable_xla(tf: ModuleType) -> None:
    """Make every compilation by XLA fail with ``XLA compilation disabled``, in the whole process.

    TensorFlow has this switch for the model server, but not in its Python API.
    """
    for name in _TF_LIBRARIES:
        try:
            disable = getattr(ctypes.CDLL(os.path.join(tf.sysconfig.get_lib(), name)), _DISABLE_XLA)
        except (OSError, AttributeError):
            continue
        disable.restype = None
        disable()
        return
    log.warning("This TensorFlow does not let XLA be disabled: models compiled with jit_compile=True run")
