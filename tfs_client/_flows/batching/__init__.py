"""Batches: many rows in one request, and many requests under way.

Decisions are made by classes without clock, thread or network, and by flows that yield steps. ``performing`` performs
the steps with futures, ``performing_aio`` with tasks; ``micro`` and ``micro_aio`` let single calls share requests.
"""
