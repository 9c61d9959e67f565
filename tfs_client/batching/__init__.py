"""Batches: many rows in one request, and many requests under way.

What to do is decided by pure classes and by flows that yield steps; ``blocking`` and ``awaited`` perform the steps.
"""
