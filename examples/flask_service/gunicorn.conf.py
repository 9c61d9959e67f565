"""How gunicorn runs the service: worker processes, each with threads."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

worker_class = os.environ.get("WORKER_CLASS", "gthread")  # or sync, or gevent
if worker_class == "gevent":
    from gevent import monkey

    monkey.patch_all()  # before the app, and with it gRPC, is imported

wsgi_app = "digit_app.app:create_app()"
bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))

# Requests of one worker that may wait for the model at once; the batcher joins them into few calls. More are refused.
waiting = int(os.environ.setdefault("DIGITS_MAX_WAITING", "16"))
threads = 1 if worker_class == "sync" else waiting + 4  # the other threads refuse requests and answer probes

# Without preload, each worker makes its own app and client. With it, the app is made once, before the fork; its client
# connects again in each worker.
preload_app = os.environ.get("PRELOAD", "") == "1"

# With threads, this watches the worker, not its requests. DIGITS_TIMEOUT limits their time with the model; their time
# in the queue for a thread is short, because the threads beyond the limit refuse requests at once.
timeout = 30

control_socket_disable = True  # gunicorn 25 and later would listen in the home directory

# A worker that stops finishes its requests. Longer than DIGITS_TIMEOUT and DIGITS_SHUTDOWN_TIMEOUT together.
graceful_timeout = 10

# prometheus_client reads this when it is imported, and sums the metrics of the workers from files in this folder.
PREFIX = "digits-metrics-"
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=PREFIX)


def post_fork(server: Any, worker: Any) -> None:
    """Let gRPC switch greenlets while it waits; a call would stop the whole worker otherwise. REST does not need it."""
    if worker_class == "gevent":
        from grpc.experimental.gevent import init_gevent

        init_gevent()


def worker_exit(server: Any, worker: Any) -> None:
    """Close the client of a worker that stops; it has finished its requests."""
    app = worker.app.callable
    if app is not None:
        app.extensions["digits"].close()


def child_exit(server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that has stopped; its counts stay."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call, unused-ignore]


def on_exit(server: Any) -> None:
    """Remove the files of the metrics, unless the deployment chose their folder."""
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if folder.name.startswith(PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
