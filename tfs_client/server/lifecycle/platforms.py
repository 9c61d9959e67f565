"""Platforms: load the versions of models, one load function for each platform that a configuration may name.

"tensorflow" is a SavedModel or a TensorFlow Lite model, run by TensorFlow; "python" is a folder with ``servable.py``.
If batching is enabled, it wraps each loaded servable. The warmup runs last, through the batching.
Source: servables/tensorflow/saved_model_bundle_source_adapter.cc, saved_model_bundle_factory.cc.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from tfs_client.errors import NotFoundError
from tfs_client.server.files.file_errors import MissingPackageError
from tfs_client.server.lifecycle.loader import Load, Warmup
from tfs_client.server.servable import Servable
from tfs_client.server.server_metrics import ServerMetrics
from tfs_client.server.thread_pool import checked_threads

if TYPE_CHECKING:
    from tfs_client.server.backends.session_options import SessionOptions
    from tfs_client.server.batching import BatchingParameters, BatchScheduler

log: logging.Logger = logging.getLogger("tfs_client.server")

PER_MODEL_FILE = "batching_params.pbtxt"


@dataclass(frozen=True)
class PlatformOptions:
    """Options for loading versions. The model server's flags are in brackets where their names differ.

    Attributes:
        saved_model_tags: the tags of the MetaGraphDef to serve, which must match exactly; an empty set means "serve".
        prefer_tflite_model: load ``model.tflite`` from version directories that contain it.
        num_tflite_pools: the number of calls that run at the same time in a TensorFlow Lite model; each has a separate
            interpreter with separate memory.
        num_tflite_interpreters_per_pool: the number of parts into which a call of 500 rows to such a model is split;
            1: calls are not split.
        intra_op, inter_op: TensorFlow's threads within an op and for parallel ops; 0: TensorFlow decides
            (``--tensorflow_intra_op_parallelism``, ``--tensorflow_inter_op_parallelism``).
        session_config_file: options of TensorFlow's sessions, a ConfigProto as protobuf text
            (``--tensorflow_session_config_file``); its numbers of threads and its GPU fraction are ignored.
        gpu_memory_fraction: the share of a GPU's memory that the process may use; 0: TensorFlow decides
            (``--per_process_gpu_memory_fraction``).
        mixed_precision: "bfloat16" lets TensorFlow compute with bfloat16 where that is faster.
        xla: False makes calls of functions with ``jit_compile=True`` fail, as in a model server that is started with
            neither ``--xla_cpu_compilation_enabled`` nor ``--xla_gpu_compilation_enabled``. Applies to the whole
            process.
        op_libraries: Python modules, or paths of shared objects, that register ops; loaded at once (``--op_library``).
        batching: how calls are batched; None: no batching (``--enable_batching``, ``--batching_parameters_file``).
        per_model_batching: batch only versions that have a file ``batching_params.pbtxt``, with its parameters; only
            the number and the name of the threads come from ``batching`` (``--enable_per_model_batching_parameters``).
        warmup: run the recorded requests of a version before it serves (``--enable_model_warmup``).
        warmup_iterations: the number of runs of each recorded request (``--num_request_iterations_for_warmup``); 0
            counts as 1.
        method_name_check: refuse signatures that are meant for another method, also in warmups.
    """

    saved_model_tags: frozenset[str] = frozenset({"serve"})
    prefer_tflite_model: bool = False
    num_tflite_pools: int = field(default_factory=lambda: os.cpu_count() or 1)
    num_tflite_interpreters_per_pool: int = 1
    intra_op: int = 0
    inter_op: int = 0
    session_config_file: str | None = None
    gpu_memory_fraction: float = 0.0
    mixed_precision: str = ""
    xla: bool = True
    op_libraries: Sequence[str] = ()
    batching: BatchingParameters | None = None
    per_model_batching: bool = False
    warmup: bool = True
    warmup_iterations: int = 0
    method_name_check: bool = False

    def __post_init__(self) -> None:
        for name in ("intra_op", "inter_op"):
            flag = f"--tensorflow_{name}_parallelism"
            checked_threads(f"{name} ({flag})", getattr(self, name), 0, ", 0 to let TensorFlow decide")
        checked_threads("num_tflite_pools", self.num_tflite_pools, 1)


class Platforms:
    """The platforms of one server, which share threads for batches.

    Args:
        options: options for loading versions.
        metrics: counts loads, warmups and batches.

    Raises CallError for a session config file or an op library that cannot be used. If either is given, TensorFlow is
    imported at once, which takes seconds, rather than by the first load.

    A context manager; close it after the server has stopped.

    Attributes:
        loads: the load function of each platform, for ``Server(platforms=...)``.
        warm_up: the warmup function, for ``Server(warmup=...)``; None if warmups are disabled.
    """

    def __init__(self, options: PlatformOptions | None = None, metrics: ServerMetrics | None = None) -> None:
        self._options = options or PlatformOptions()
        self._metrics = metrics or ServerMetrics()
        session = _session_options(self._options)
        self._scheduler: BatchScheduler | None = None
        if self._options.batching is not None:
            from tfs_client.server.batching import BatchScheduler

            shared = self._options.batching
            self._scheduler = BatchScheduler(shared.num_batch_threads, name=shared.thread_pool_name)
        tensorflow = partial(load_tensorflow, options=self._options, session=session)
        loads: dict[str, Load] = {"tensorflow": tensorflow, "python": load_python}
        self.loads: Mapping[str, Load] = {platform: partial(self._load, load) for platform, load in loads.items()}
        self.warm_up: Warmup | None = self._warm_up if self._options.warmup else None

    def _load(self, load: Load, path: str) -> Servable:
        parameters = self._parameters(path)
        try:
            servable = load(path)
        except BaseException:
            self._metrics.loaded(path, succeeded=False)
            raise
        self._metrics.loaded(path, succeeded=True)
        if parameters is None:
            return servable
        from tfs_client.server.batching import BatchingServable

        return BatchingServable(servable, parameters, scheduler=self._scheduler, observer=self._metrics.batched)

    def _parameters(self, path: str) -> BatchingParameters | None:
        """The batching parameters of a version; None for no batching. Raises CallError for an invalid file."""
        shared = self._options.batching
        if shared is None or not self._options.per_model_batching:
            return shared
        file = os.path.join(path, PER_MODEL_FILE)
        if not os.path.exists(file):
            return None
        own = type(shared).from_file(file)
        return replace(own, num_batch_threads=shared.num_batch_threads, thread_pool_name=shared.thread_pool_name)

    def _warm_up(self, servable: Servable, path: str) -> None:
        from tfs_client.server.lifecycle.warmup import warm_up

        warm_up(
            servable,
            path,
            iterations=self._options.warmup_iterations,
            method_name_check=self._options.method_name_check,
            ended=self._metrics.warmed_up,
            ran=self._metrics.ran,
        )

    def close(self) -> None:
        """Run the batches that wait, and end the threads. Does not wait for a batch that hangs."""
        if self._scheduler is not None:
            self._scheduler.stop()

    def __enter__(self) -> Platforms:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _session_options(options: PlatformOptions) -> SessionOptions:
    """Return the options of SavedModels' sessions. Loads the op libraries first, so that all models find their ops."""
    from tfs_client.server.backends import op_libraries, saved_model, session_options

    for library in options.op_libraries:
        op_libraries.load(library, saved_model.tensorflow)
    config = None
    if options.session_config_file:
        with suppress(MissingPackageError):  # without TensorFlow, no model needs the file
            saved_model.tensorflow()
            config = session_options.read(options.session_config_file)
    return session_options.SessionOptions(
        config, options.intra_op, options.inter_op, options.gpu_memory_fraction, options.mixed_precision, options.xla
    )


def load_tensorflow(path: str, *, options: PlatformOptions, session: SessionOptions) -> Servable:
    """Load a model that TensorFlow runs. Raises CallError, FAILED_PRECONDITION without TensorFlow."""
    from tfs_client.server.backends import python_folder, saved_model, tflite

    if options.prefer_tflite_model and os.path.exists(os.path.join(path, tflite.FILE)):
        return tflite.load(
            path,
            pools=options.num_tflite_pools,
            interpreters_per_pool=options.num_tflite_interpreters_per_pool,
            options=session,
        )
    try:
        return saved_model.load(path, tags=options.saved_model_tags, options=session)
    except NotFoundError:
        if os.path.exists(os.path.join(path, python_folder.FILE)):
            log.warning(
                "%s contains %s, so it is a model of platform python. Start with --model_platform=python, or set the "
                'platform to "python" in the configuration',
                path,
                python_folder.FILE,
            )
        raise


def load_python(path: str) -> Servable:
    """Load a folder with a ``servable.py``. Raises CallError."""
    from tfs_client.server.backends import python_folder

    return python_folder.load(path)
