"""Platforms: how a version is loaded for each platform that a configuration may name, and what is put around it.

"tensorflow" is a SavedModel, or a TensorFlow Lite model, run by TensorFlow; "python" is a folder with ``servable.py``.
What is loaded is batched, if that is wanted, and then warmed up, through the batching.
Source: servables/tensorflow/saved_model_bundle_source_adapter.cc, saved_model_bundle_factory.cc.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from tfs_client.errors import NotFoundError
from tfs_client.server.loader import Load, Warmup
from tfs_client.server.measures import Measures
from tfs_client.server.servable import Servable
from tfs_client.server.threads import checked_threads

if TYPE_CHECKING:
    from tfs_client.server.batching import BatchingParameters, BatchScheduler

log = logging.getLogger("tfs_client.server")

PER_MODEL_FILE = "batching_params.pbtxt"


@dataclass(frozen=True)
class PlatformOptions:
    """How versions are loaded. Names in brackets are the model server's flags, where they differ.

    Attributes:
        saved_model_tags: the MetaGraphDef with exactly these tags is served.
        prefer_tflite_model: take ``model.tflite`` of a version directory, where there is one.
        intra_op, inter_op: TensorFlow's threads within an op and for ops side by side; 0: as many as it likes
            (``--tensorflow_intra_op_parallelism``, ``--tensorflow_inter_op_parallelism``).
        batching: how calls are batched; None: not at all (``--enable_batching``, ``--batching_parameters_file``).
        per_model_batching: batch only versions that have a file ``batching_params.pbtxt``, and as it says; of
            ``batching`` only the number and the name of the threads count
            (``--enable_per_model_batching_parameters``).
        warmup: run the recorded requests of a version before it serves (``--enable_model_warmup``).
        warmup_iterations: how often each of them (``--num_request_iterations_for_warmup``); 0 counts as 1.
        method_name_check: refuse signatures that are made for another method, also when warming up.
    """

    saved_model_tags: frozenset[str] = frozenset({"serve"})
    prefer_tflite_model: bool = False
    intra_op: int = 0
    inter_op: int = 0
    batching: BatchingParameters | None = None
    per_model_batching: bool = False
    warmup: bool = True
    warmup_iterations: int = 0
    method_name_check: bool = False

    def __post_init__(self) -> None:
        for name in ("intra_op", "inter_op"):
            flag = f"--tensorflow_{name}_parallelism"
            checked_threads(f"{name} ({flag})", getattr(self, name), 0, ", 0 for as many as TensorFlow likes")


class Platforms:
    """The platforms of one server, which share the threads for batches.

    Args:
        options: how versions are loaded.
        measures: counts loads, warmups and batches.

    A context manager; close it after the server has stopped.

    Attributes:
        loads: for each platform its load function, what ``Server(platforms=...)`` takes.
        warm_up: what ``Server(warmup=...)`` takes; None when nothing is to be warmed up.
    """

    def __init__(self, options: PlatformOptions | None = None, measures: Measures | None = None) -> None:
        self._options = options or PlatformOptions()
        self._measures = measures or Measures()
        self._scheduler: BatchScheduler | None = None
        if self._options.batching is not None:
            from tfs_client.server.batching import BatchScheduler

            shared = self._options.batching
            self._scheduler = BatchScheduler(shared.num_batch_threads, name=shared.thread_pool_name)
        loads: dict[str, Load] = {"tensorflow": partial(load_tensorflow, options=self._options), "python": load_python}
        self.loads: Mapping[str, Load] = {platform: partial(self._load, load) for platform, load in loads.items()}
        self.warm_up: Warmup | None = self._warm_up if self._options.warmup else None

    def _load(self, load: Load, path: str) -> Servable:
        parameters = self._parameters(path)
        try:
            servable = load(path)
        except BaseException:
            self._measures.loaded(path, succeeded=False)
            raise
        self._measures.loaded(path, succeeded=True)
        if parameters is None:
            return servable
        from tfs_client.server.batching import BatchingServable

        return BatchingServable(servable, parameters, scheduler=self._scheduler, observer=self._measures.batched)

    def _parameters(self, path: str) -> BatchingParameters | None:
        """How calls of a version are batched; None for not at all. Raises CallError for a file that is not good."""
        shared = self._options.batching
        if shared is None or not self._options.per_model_batching:
            return shared
        file = os.path.join(path, PER_MODEL_FILE)
        if not os.path.exists(file):
            return None
        own = type(shared).from_file(file)
        return replace(own, num_batch_threads=shared.num_batch_threads, thread_pool_name=shared.thread_pool_name)

    def _warm_up(self, servable: Servable, path: str) -> None:
        from tfs_client.server.warmup import warm_up

        warm_up(
            servable,
            path,
            iterations=self._options.warmup_iterations,
            method_name_check=self._options.method_name_check,
            ended=self._measures.warmed_up,
            ran=self._measures.ran,
        )

    def close(self) -> None:
        """End the threads for batches once those that wait have run; does not wait for a batch that hangs."""
        if self._scheduler is not None:
            self._scheduler.stop()

    def __enter__(self) -> Platforms:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def load_tensorflow(path: str, *, options: PlatformOptions) -> Servable:
    """Load a model that TensorFlow runs. Raises CallError, FAILED_PRECONDITION without TensorFlow."""
    from tfs_client.server.backends import python_folder, saved_model, tflite

    if options.prefer_tflite_model and os.path.exists(os.path.join(path, tflite.FILE)):
        return tflite.load(path)
    try:
        return saved_model.load(
            path, tags=options.saved_model_tags, intra_op=options.intra_op, inter_op=options.inter_op
        )
    except NotFoundError:
        if os.path.exists(os.path.join(path, python_folder.FILE)):
            log.warning("%s has a %s: models of that kind are of the platform python", path, python_folder.FILE)
        raise


def load_python(path: str) -> Servable:
    """Load a folder with a ``servable.py``. Raises CallError."""
    from tfs_client.server.backends import python_folder

    return python_folder.load(path)
