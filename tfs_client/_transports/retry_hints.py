"""Advice about retries in the hints of errors."""

from __future__ import annotations

TRY_AGAIN = "retry=RetryPolicy() tries such calls again"  # of transports; calls that are retried leave it out
WAITS = "Calls wait for an unreachable server; use RetryPolicy(wait_for_ready=False) to fail at once."
