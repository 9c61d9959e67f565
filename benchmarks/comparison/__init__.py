"""Measure tfs_client beside the other clients of TensorFlow Serving, on the same work."""
