"""What tests with peers share."""

from __future__ import annotations

import pytest
from peers.exported import quiet


@pytest.fixture(scope="session")
def tf():
    """TensorFlow."""
    with quiet():
        import tensorflow
    return tensorflow
