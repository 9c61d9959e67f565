"""HandleReloadConfigRequest: another configuration, sent by a client (model_servers/model_service_impl.cc)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from threading import Event
from typing import Any

from tfs_client.errors import CallError
from tfs_client.server import model_list
from tfs_client.server.core import ServerCore
from tfs_client.server.messages import parse
from tfs_client.shown import bounded

log = logging.getLogger("tfs_client.server")

Metrics = Callable[[list[str]], Mapping[str, int]]
"""Tells the values of metrics, by the model server's own names such as ``/tensorflow/serving/request_count``."""


def no_metrics(names: list[str]) -> Mapping[str, int]:
    """The values of metrics where nothing is counted."""
    return dict.fromkeys(names, 0)


def handle(data: bytes, core: ServerCore, metrics: Metrics, gone: Event | None = None) -> bytes:
    """Apply the configuration of a ReloadConfigRequest; the reply tells by how much metrics have grown meanwhile.

    ``gone`` is set when the client has gone, as ``ServerCore.reload`` takes it.

    Raises CallError with the model server's code and text, and DecodeError.
    """
    from tfs_client.protos.tensorflow_serving.apis.model_management_pb2 import (
        ReloadConfigRequest,
        ReloadConfigResponse,
    )

    request, response = parse(ReloadConfigRequest, data), ReloadConfigResponse()
    names = [*dict.fromkeys(request.metric_names)]
    before = metrics(names)
    try:
        _apply(request.config, core, gone)
    except CallError as error:
        log.error("ReloadConfig failed: %s", error.details)
        raise
    response.status.SetInParent()  # present even when it says OK
    after = metrics(names)
    for name in names:
        response.metric.add(name=name, int64_value_increase=after[name] - before[name])
    return response.SerializeToString()


def _apply(config: Any, core: ServerCore, gone: Event | None) -> None:
    if config.WhichOneof("config") != "model_config_list":
        raise model_list.unsupported()
    _log_entries(config.model_config_list.config)
    core.reload(config, gone=gone)


def _log_entries(models: Iterable[Any]) -> None:
    for index, model in enumerate(models):
        log.info(
            "\nConfig entry\n\tindex : %d\n\tpath : %s\n\tname : %s\n\tplatform : %s",
            index,
            *(bounded(text, 500).replace("\n", "\\n") for text in (model.base_path, model.name, model.model_platform)),
        )
