"""A model that tests hold up."""

import threading


class GatedModel:
    """Answers once its gate is open, and counts how often it was run."""

    def __init__(self):
        self.open = threading.Event()
        self.entered = threading.Event()
        self.runs = 0

    def __call__(self, x):
        self.runs += 1
        self.entered.set()
        assert self.open.wait(20)
        return {"y": x}
