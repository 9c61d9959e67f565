"""Values of TensorFlow, Keras, pandas and pyarrow; of torch, jax, polars and scipy where they are installed."""

from __future__ import annotations

import datetime
import decimal
import os
import warnings

import numpy as np
import pytest

from tfs_client import serialized_examples
from tfs_client._codec import tensors
from tfs_client._codec.values import as_array
from tfs_client.errors import EncodeError

pytestmark = pytest.mark.peer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="module")
def tf():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow
    return tensorflow


def installed(name):
    """A package that may be missing in this environment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def sent(values, dtype, content):
    array = tensors.read(tensors.write(as_array(values)))
    assert array.dtype == dtype
    assert array.tolist() == content


def refused(values, text):
    for value in (values, [values]):
        with pytest.raises(EncodeError, match=text):
            as_array(value)


def test_tensorflow(tf):
    sent(tf.constant([1.0, 2.0]), np.float32, [1, 2])
    sent([tf.constant([1.0]), tf.Variable([2.0])], np.float32, [[1], [2]])
    sent(tf.constant(["a\0", "é"]), object, [b"a\0", "é".encode()])
    sent(tf.constant([1.5], tf.bfloat16), tf.bfloat16.as_numpy_dtype, [1.5])
    refused(tf.ragged.constant([[1], [2, 3]]), r"not ragged: pad it, e.g. with .to_tensor\(\)")
    refused(tf.sparse.from_dense([[1, 0]]), r"tf.sparse.to_dense\(x\)")
    refused(tf.IndexedSlices(tf.ones((1, 2)), tf.constant([0])), r"tf.convert_to_tensor\(x\)")


def test_symbolic_tensors(tf):
    @tf.function
    def traced(x):
        refused(x, "NotImplementedError: .*a symbolic tensor has no values: make the call outside tf.function")
        return x

    traced(tf.ones(2))
    refused(tf.keras.Input((2,)), "symbolic tensor has no values")


def test_pandas():
    pd = installed("pandas")
    sent(pd.Series([1, 2], index=[5, 3]), np.int64, [1, 2])
    sent(pd.Series([1, 2], dtype="Int32"), np.int32, [1, 2])
    sent(pd.Series(["a", "b"], dtype="string"), object, [b"a", b"b"])
    sent(pd.Series(["a", "b"], dtype="category"), object, [b"a", b"b"])
    sent(pd.Series([{"b64": "aGk="}]), object, [b"hi"])
    sent(pd.Series([1.5, np.nan]).fillna(0), np.float64, [1.5, 0])
    for gap in (None, np.nan, pd.NA, pd.NaT):
        with pytest.raises(EncodeError, match="at element 1; tensors have no gaps"):
            as_array(pd.Series(["a", gap], dtype=object))
    for dtype in ("Int64", "Float64", "boolean", "int64[pyarrow]", "double[pyarrow]"):
        refused(pd.Series([1, None], dtype=dtype), "got 1 missing, the first at element 1; .*fillna")
    refused(pd.Series(["a", None], dtype="string"), "at element 1; tensors have no gaps")
    refused(pd.Timestamp("2020"), r"value.timestamp\(\)")
    refused(pd.Series(pd.to_datetime(["2020-01-01"])), r"values.astype\('datetime64\[s\]'\)")
    refused(pd.Series(pd.to_datetime(["2020-01-01"], utc=True)), r"value.timestamp\(\)")
    refused(pd.Series([[1, 2], [3, 4]]), r"np.stack\(list\(rows\)\)")


def test_pyarrow():
    pa = installed("pyarrow")
    pairs = pa.list_(pa.float32(), 2)
    fixed = pa.array([[1.0, 2], [3, 4], [5, 6]], pairs)
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(4, dtype=np.float32).reshape(1, 2, 2))
    sent(fixed, np.float32, [[1, 2], [3, 4], [5, 6]])
    sent(fixed[1:], np.float32, [[3, 4], [5, 6]])
    sent(pa.chunked_array([fixed[:1], fixed[2:]]), np.float32, [[1, 2], [5, 6]])
    sent(tensor, np.float32, [[[0, 1], [2, 3]]])
    sent(pa.chunked_array([tensor, tensor]), np.float32, [[[0, 1], [2, 3]]] * 2)
    sent(pa.array([[1, 2], [3, 4]]), np.int64, [[1, 2], [3, 4]])
    sent(pa.array([[["a"], ["b"]]]), object, [[[b"a"], [b"b"]]])
    sent(pa.array(["a", "é"]).dictionary_encode(), object, [b"a", "é".encode()])
    sent(pa.array([True, False]), np.bool_, [True, False])
    sent([pa.scalar(1), pa.scalar(2)], np.int32, [1, 2])
    for values in ([1, None], ["a", None], [[1], None], [True, None]):
        refused(pa.array(values), "got 1 missing, the first at element 1; .*fill_null")
        refused(pa.chunked_array([values]), "got 1 missing, the first at element 1")
    refused(pa.array([[1.0, None]], pairs), "got 1 missing")
    refused(pa.table({"a": [1, None]}), "got 1 missing")
    refused(pa.array([[1, 2], [3]]), "lists of one length, got lengths from 1 to 2")
    refused(pa.array([datetime.date(2020, 1, 1)]), "no tensor dtype; .*send dates as numbers")
    refused(pa.array([decimal.Decimal("1.5")]), r"str\(value\) to keep every digit")


def test_polars():
    pl = installed("polars")
    sent(pl.Series([1, 2]), np.int64, [1, 2])
    sent(pl.Series(["a", "b"]), object, [b"a", b"b"])
    sent(pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)), np.int64, [[1, 2], [3, 4]])
    sent(pl.Series([[1, 2], [3, 4]]), np.int64, [[1, 2], [3, 4]])
    for values in ([1, None], ["a", None], [True, None]):
        refused(pl.Series(values), "got 1 missing, the first at element 1; .*fill_null")
    refused(pl.Series([[1, None]]), "got 1 missing")
    refused(pl.DataFrame({"a": [1, None]}), "got 1 missing")
    refused(pl.Series([[1, 2], [3]]), "lists of one length")
    for structs in (pl.Series([{"z": 1}]), pl.Series([[{"z": 1}]]), pl.DataFrame({"a": [{"z": 1}]})):
        refused(structs, "got a column of structs")
    for rows in (pl.DataFrame({"a": [{"z": 1}]}), {"a": pl.Series([{"z": 1}])}, [{"a": pl.Series([{"z": 1}])}]):
        with pytest.raises(EncodeError, match="got a column of structs"):
            serialized_examples(rows)
    refused(pl.LazyFrame({"a": [1]}), "collect it first")


def test_torch():
    torch = installed("torch")
    sent(torch.ones(2), np.float32, [1, 1])
    sent([torch.ones(2), torch.zeros(2)], np.float32, [[1, 1], [0, 0]])
    ml_dtypes = installed("ml_dtypes")
    sent(torch.arange(6).reshape(2, 3).bfloat16().T, ml_dtypes.bfloat16, [[0, 3], [1, 4], [2, 5]])
    sent(torch.ones(2).to(torch.float8_e4m3fn), ml_dtypes.float8_e4m3fn, [1, 1])
    sent(torch.ones((), dtype=torch.bfloat16), ml_dtypes.bfloat16, 1)
    refused(torch.ones(2, requires_grad=True), r"RuntimeError: .*tensor.detach\(\)")
    refused(torch.nn.Parameter(torch.ones(2)), r"tensor.detach\(\)")
    refused(torch.ones(2, device="meta"), "a tensor on the device 'meta' has no values")
    refused(torch.eye(2).to_sparse(), r"x.to_dense\(\)")


def test_jax():
    jax = installed("jax")
    sent(jax.numpy.ones(2), np.float32, [1, 1])
    seen = []

    def traced(x):
        refused(x, "a traced value has no numbers yet: make the call outside jax.jit")
        seen.append(x)
        return x

    jax.jit(traced)(jax.numpy.ones(2))
    jax.grad(traced)(1.0)
    assert len(seen) == 2


def test_scipy():
    sparse = installed("scipy.sparse")
    refused(sparse.csr_matrix(np.eye(2)), r"x.toarray\(\)")
    refused(sparse.coo_array(np.eye(2)), r"x.toarray\(\)")
    sent(sparse.csr_matrix(np.eye(2, dtype=np.float32)).toarray(), np.float32, [[1, 0], [0, 1]])
