"""Predictions for the rows of tables, for Ray, Spark and Dask."""

from __future__ import annotations

from tfs_client.ray.predictor import Predictor as Predictor

__all__ = ["Predictor"]
