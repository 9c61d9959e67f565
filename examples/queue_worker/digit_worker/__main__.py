"""``python -m digit_worker``: work until SIGTERM or Ctrl-C."""

from __future__ import annotations

import logging
import signal
import threading
from queue import SimpleQueue

from digit_worker.jobs import JobQueue
from digit_worker.settings import Settings
from digit_worker.worker import Worker


def main() -> None:
    """Run one worker. Start more processes for more throughput; they share the queue."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # A handler runs between any two steps of the worker, which may hold a lock then. So it only puts the signal into a
    # queue that takes no lock, and a thread does the rest.
    signals: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, frame: signals.put(received))
    settings = Settings.from_environment()
    queue = JobQueue(settings.queue)
    try:
        with Worker(queue, settings) as worker:

            def wait_for_signal() -> None:
                signals.get()
                worker.stop()

            threading.Thread(target=wait_for_signal, daemon=True).start()
            logging.info("working")
            worker.run()
    finally:
        queue.close()
    logging.info("stopped")


if __name__ == "__main__":
    main()
