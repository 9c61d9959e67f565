"""tfs-admin wait: wait until models are ready."""

from __future__ import annotations

from functools import partial
from queue import Empty, SimpleQueue

from tfs_client._transports import daemon_threads
from tfs_client.cli import exits
from tfs_client.cli.admin.server_connection import ServerConnection, models_of
from tfs_client.cli.admin.wait.arguments import WaitOptions
from tfs_client.errors import ConfigError, DeadlineExceededError

REMAINING = 0.5  # seconds in which other models may still be reported as ready, once one has failed


def wait(options: WaitOptions) -> int:
    """Wait for all models in parallel, so that each has the whole time, and an error names all that are not ready."""
    own = options.model or ()
    only = own[0] if len(set(own)) == 1 else None
    connection = ServerConnection(options, model=only, version=options.version, label=options.label)
    models = models_of(own, connection.model)
    if len(models) > 1 and (options.version, options.label) != (None, None):
        flag = "--label" if options.version is None else "--version"
        raise ConfigError(f"{flag} applies to a single model, got {len(models)}: use one --model")
    ended: SimpleQueue[tuple[str, Exception | None]] = SimpleQueue()
    with connection.connect() as client:

        def ask(model: str) -> None:
            try:
                client.wait_until_ready(connection.timeout, model=model)
            except Exception as error:
                ended.put((model, error))
            else:
                ended.put((model, None))

        for model in models:
            if daemon_threads.start(partial(ask, model), "tfs-admin-wait") is None:
                ask(model)
        late: dict[str, str] = {}
        failure: Exception | None = None
        for _ in models:
            try:
                model, error = ended.get(timeout=REMAINING if failure else None)
            except Empty:
                break
            if error is None:
                exits.show(f"{model} is ready")
            elif isinstance(error, DeadlineExceededError):
                late[model] = error.details
            else:  # waiting longer would not help
                failure = failure or error
    if failure:
        raise failure
    if late:
        raise DeadlineExceededError("; ".join(late[model] for model in models if model in late))
    return exits.OK
