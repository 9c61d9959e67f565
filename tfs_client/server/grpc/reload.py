"""HandleReloadConfigRequest: a client replaces the configuration (model_servers/model_service_impl.cc)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from threading import Event
from typing import TYPE_CHECKING

from tfs_client._printable import bounded
from tfs_client.errors import CallError
from tfs_client.server.grpc.messages import parse
from tfs_client.server.lifecycle import model_list
from tfs_client.server.lifecycle.core import ServerCore

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

log: logging.Logger = logging.getLogger("tfs_client.server")

Metrics = Callable[[list[str]], Mapping[str, int]]
"""Returns the values of metrics by the model server's names, such as ``/tensorflow/serving/request_count``."""


def no_metrics(names: list[str]) -> Mapping[str, int]:
    """Return the values of metrics for a server that counts nothing."""
    return dict.fromkeys(names, 0)


def handle(data: bytes, core: ServerCore, metrics: Metrics, gone: Event | None = None) -> bytes:
    """Apply the configuration of a ReloadConfigRequest. The reply reports how much metrics have grown meanwhile.

    ``gone`` is an event that is set when the client has gone, see ``ServerCore.reload``.

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
    response.status.SetInParent()  # present even for OK
    after = metrics(names)
    for name in names:
        response.metric.add(name=name, int64_value_increase=after[name] - before[name])
    return response.SerializeToString()


def _apply(config: schema.ModelServerConfig, core: ServerCore, gone: Event | None) -> None:
    if config.WhichOneof("config") != "model_config_list":
        raise model_list.unsupported()
    _log_entries(config.model_config_list.config)
    core.reload(config, gone=gone)


def _log_entries(models: Iterable[schema.ModelConfig]) -> None:
    for index, model in enumerate(models):
        log.info(
            "\nConfig entry\n\tindex : %d\n\tpath : %s\n\tname : %s\n\tplatform : %s",
            index,
            *(bounded(text, 500).replace("\n", "\\n") for text in (model.base_path, model.name, model.model_platform)),
        )
