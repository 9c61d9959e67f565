"""Event loops whose timers fire in time.

asyncio's usual selector waits in whole milliseconds, rounded up, because epoll does; so does uvloop. A request of an
open loop would start up to a millisecond late, and its latency, which counts from the intended start, would contain
that.
"""

from __future__ import annotations

import asyncio
import select
import selectors

SHORT = 0.003  # seconds
SELECTABLE = 1024  # file descriptors that select takes, from 0

if hasattr(selectors, "EpollSelector"):

    class PreciseSelector(selectors.EpollSelector):
        """An epoll selector with timeouts in microseconds: select(2) has these, and it can wait for epoll itself.

        Only short waits use it, because it is one more system call; long ones end early and are continued.
        """

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > SHORT:
                return super().select(timeout - SHORT / 2)
            if timeout is not None and timeout > 0 and self.fileno() < SELECTABLE:
                select.select([self.fileno()], [], [], timeout)
                timeout = 0
            return super().select(timeout)


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop, with precise timers where the platform needs and allows it."""
    if hasattr(selectors, "EpollSelector"):
        return asyncio.SelectorEventLoop(PreciseSelector())
    return asyncio.new_event_loop()
