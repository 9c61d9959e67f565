"""Models that tests hold up or count."""

import threading
import time


class GatedModel:
    """Answers once its gate is open, and counts how often it was run."""

    def __init__(self):
        self.open = threading.Event()
        self.entered = threading.Event()
        self.runs = 0
        self._lock = threading.Lock()

    def __call__(self, x):
        with self._lock:
            self.runs += 1
        self.entered.set()
        assert self.open.wait(20)
        return {"y": x}


class CountedModel:
    """Answers after a pause; ``most`` is how many of its runs there were at the same time."""

    def __init__(self, pause):
        self.most = 0
        self._pause = pause
        self._running = 0
        self._lock = threading.Lock()

    def __call__(self, x):
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        time.sleep(self._pause)
        with self._lock:
            self._running -= 1
        return {"y": x}
