"""The configuration of gunicorn with an app whose client has a connection before the workers are forked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

exec((Path(__file__).parents[1] / "gunicorn.conf.py").read_text())


def pre_fork(server: Any, worker: Any) -> None:
    """Call the model server in the process that forks."""
    server.log.info("used before the fork: %s", server.app.wsgi().extensions["digits"].is_ready())
