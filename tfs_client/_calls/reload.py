"""HandleReloadConfigRequest: change a server's configuration, and determine when it is served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tfs_client._calls.grpc_only import GrpcOnly
from tfs_client._codec import field_limits, wire
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.predict_messages import Join, plain_join
from tfs_client._codec.protobuf_messages import parse
from tfs_client._printable import shown
from tfs_client.errors import ConfigError, StatusCode, call_error, reads
from tfs_client.model_config import AllVersions, ModelConfig, ModelServerConfig, SpecificVersions
from tfs_client.results import ModelStatus, Reload, State, VersionStatus

Statuses = Mapping[str, ModelStatus | None]
"""The status of each model by name; None, or no entry, if the server does not know the model."""


class ReloadConfig(GrpcOnly):
    """One HandleReloadConfigRequest call (tensorflow_serving/apis/model_management.proto).

    The configuration replaces the server's; models that it leaves out are unloaded afterwards. For models that are new
    to the server the call waits, without a time limit, until each has a version that is AVAILABLE or has failed: it
    never returns for a base path without versions, so give it a timeout. For other models it does not wait: see
    ``pending``. Order of checks and effects: model_servers/server_core.cc, ServerCore::ReloadConfig.

    ``metrics`` are names of server metrics, such as ``/tensorflow/serving/request_count``.
    """

    path = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
    method = "HandleReloadConfigRequest"
    spec = ModelSpec("")

    def __init__(self, config: ModelServerConfig, metrics: Sequence[str] = ()) -> None:
        if not isinstance(config, ModelServerConfig):
            raise ConfigError(f"expected a ModelServerConfig, got {type(config).__name__}")
        if isinstance(metrics, str) or not all(isinstance(name, str) for name in metrics):
            raise ConfigError(f"expected a list of metric names, got {shown(metrics)}")
        for name in metrics:
            wire.utf8(name, "a metric name")
        self._config = config
        self._metrics = tuple(metrics)

    def write(self, join: Join = plain_join) -> bytes:
        """Return the request, which is small and in one part."""
        from tfs_client.protos.tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest

        request = ReloadConfigRequest(config=self._config.to_proto(), metric_names=self._metrics)
        return request.SerializeToString()

    @reads("the reply of HandleReloadConfigRequest")
    def read(self, reply: bytes) -> Reload:
        """Return the metrics. Raises CallError for a status other than OK in the reply, and DecodeError."""
        from tfs_client.protos.tensorflow_serving.apis.model_management_pb2 import ReloadConfigResponse

        field_limits.check(reply, field_limits.RELOAD, f"the reply of {self.method}")
        response = parse(ReloadConfigResponse, reply, f"the reply of {self.method}")
        if response.status.error_code:
            raise call_error(StatusCode.of(response.status.error_code), response.status.error_message, self.method)
        return Reload({metric.name: metric.int64_value_increase for metric in response.metric})


def pending(config: ModelServerConfig, statuses: Statuses) -> dict[str, str]:
    """Return the models that are not yet served as configured, and why; empty if all are.

    Every version of SpecificVersions and every labelled version must be AVAILABLE; of Latest, at least one version; of
    AllVersions, at least one, with none loading and none failed. GetModelStatus does not report which versions exist on
    disk, so versions that Latest and AllVersions have yet to discover are not waited for.
    """
    return _reasons(config, statuses, failed_only=False)


def failed(config: ModelServerConfig, statuses: Statuses) -> dict[str, str]:
    """Return the models of ``pending`` for which waiting is useless: a wanted version reached END with an error.

    The server does not retry such a version while it is wanted (core/aspired_versions_manager.cc). The status keeps
    old failures: that of a version which was removed and added again counts until the server starts to load it.
    """
    return _reasons(config, statuses, failed_only=True)


def _reasons(config: ModelServerConfig, statuses: Statuses, *, failed_only: bool) -> dict[str, str]:
    reasons = {}
    for model in config:
        lacking = _lacking(model, statuses.get(model.name))
        texts = [text for text, status in lacking if not failed_only or (status and status.failed)]
        if texts:
            reasons[model.name] = "; ".join(texts)
    return reasons


def _lacking(model: ModelConfig, status: ModelStatus | None) -> Iterator[tuple[str, VersionStatus | None]]:
    """Yield what is missing, as text, each with the version's status if it has one."""
    known = {found.version: found for found in status.versions} if status else {}
    named = _named(model)
    for version, labels in named.items():
        found = known.get(version)
        if found is None:
            yield f"version {version}{labels} is not known to the server", None
        elif found.state is not State.AVAILABLE:
            yield _said(found, labels), found
    if not isinstance(model.versions, SpecificVersions):
        for found in _unnamed(model, [known[version] for version in sorted(known, reverse=True)]):
            if found is None:
                yield "no version is known to the server", None
            elif found.version not in named:
                yield _said(found, ""), found


def _named(model: ModelConfig) -> dict[int, str]:
    """Return the versions that the configuration names, with their labels as text."""
    named = model.versions.versions if isinstance(model.versions, SpecificVersions) else ()
    labels = {
        version: [label for label, labelled in model.labels.items() if labelled == version]
        for version in sorted({*named, *model.labels.values()})
    }
    return {version: f" (label {', '.join(names)})" if names else "" for version, names in labels.items()}


def _unnamed(model: ModelConfig, known: list[VersionStatus]) -> list[VersionStatus | None]:
    """Return what a policy without version numbers is missing; ``known`` has the highest version first."""
    lacking = [found for found in known if found.state in (State.START, State.LOADING)]
    served = any(found.state is State.AVAILABLE for found in known)
    if isinstance(model.versions, AllVersions):
        lacking += [found for found in known if found.failed]
    elif served:
        return []
    if lacking or served:
        return [*lacking]
    # All versions have ended. The highest counts, because it is the one that the server wanted last.
    return [known[0] if known else None]


def _said(found: VersionStatus, labels: str) -> str:
    what = f"failed ({found.code.name}: {found.message})" if found.failed else f"is {found.state.name}"
    return f"version {found.version}{labels} {what}"
