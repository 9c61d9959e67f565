"""SavedModels with ops that TensorFlow itself does not have."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from peers.saved import error_of, rename_op, run, save
from tcp import free_port

from tfs_client import StatusCode
from tfs_client.cli.serve import command
from tfs_client.server.backends import op_libraries, saved_model
from tfs_client.server.lifecycle.platforms import PlatformOptions, Platforms

pytestmark = pytest.mark.peer

THRICE = """
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"

REGISTER_OP("TfsClientThrice").Input("x: float").Output("y: float");

class Thrice : public tensorflow::OpKernel {
 public:
  explicit Thrice(tensorflow::OpKernelConstruction* context) : OpKernel(context) {}
  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor& x = context->input(0);
    tensorflow::Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &y));
    for (int64_t i = 0; i < x.NumElements(); ++i) y->flat<float>()(i) = 3 * x.flat<float>()(i);
  }
};

REGISTER_KERNEL_BUILDER(Name("TfsClientThrice").Device(tensorflow::DEVICE_CPU), Thrice);
"""


@pytest.fixture(scope="session")
def thrice(tf, tmp_path_factory):
    """The path of a shared object with the op TfsClientThrice."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    folder = tmp_path_factory.mktemp("thrice")
    (folder / "thrice.cc").write_text(THRICE)
    flags = [*tf.sysconfig.get_compile_flags(), *tf.sysconfig.get_link_flags()]
    command = [compiler, "-shared", "-fPIC", "-O0", "-o", str(folder / "thrice.so"), str(folder / "thrice.cc"), *flags]
    made = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stderr[-2000:]
    return folder / "thrice.so"


def model_with(tf, path, op, dtype=None):
    """A SavedModel whose y is made of x by one op of this type."""
    if dtype is tf.string:
        save(tf, path, tf.strings.lower, dtype)
        rename_op(path, "StringLower", op)
    else:
        save(tf, path, tf.negative)
        rename_op(path, "Neg", op)
    return path


# --- TensorFlow Text --------------------------------------------------------------------------------------------------


def test_ops_of_tensorflow_text_are_registered_when_a_model_has_them(tf, tmp_path):
    servable = saved_model.load(str(model_with(tf, tmp_path / "1", "CaseFoldUTF8", tf.string)))
    assert run(servable, np.array([b"Ab C"], object)).tolist() == [b"ab c"]
    servable.close()


def test_a_tensorflow_text_that_cannot_be_imported_is_named(tf, tmp_path, monkeypatch):
    (tmp_path / "tensorflow_text.py").write_text("raise ImportError('undefined symbol: x')")
    monkeypatch.delitem(sys.modules, "tensorflow_text", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    code, text = error_of(saved_model.load, str(model_with(tf, tmp_path / "1", "TFText>OfTomorrow")))
    assert code is StatusCode.NOT_FOUND
    assert text.startswith("Op type not registered 'TFText>OfTomorrow' in binary running on ")
    assert text.endswith(
        "The Python package tensorflow_text is installed, but cannot be imported (ImportError: undefined symbol: x): "
        f"install the release that fits TensorFlow {tf.__version__}"
    )


@pytest.mark.parametrize(
    ("op", "advice"),
    [
        ("TFText>OfTomorrow", "It is an op of the Python package tensorflow_text: install the release that fits"),
        (
            "SimpleMLInferenceOpWithHandle",
            "It is an op of the Python package tensorflow_decision_forests: install a release that fits TensorFlow ",
        ),
        ("Addons>ParseTime", ", and name it with --op_library=tensorflow_addons"),
        ("NobodyKnowsThisOp", "If a Python module or a shared object registers it, name that with --op_library"),
    ],
)
def test_the_package_of_an_op_that_is_not_registered_is_named(tf, tmp_path, monkeypatch, op, advice):
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    code, text = error_of(saved_model.load, str(model_with(tf, tmp_path / "1", op)))
    assert code is StatusCode.NOT_FOUND
    assert text.startswith(f"Op type not registered '{op}' in binary running on ")
    assert advice in text


def test_every_op_of_tensorflow_text_is_known_by_its_name():
    program = """
import tensorflow as tf
from tensorflow.core.framework.op_def_pb2 import OpList
from tensorflow.python.client.pywrap_tf_session import TF_GetAllOpList, TF_GetBuffer

def registered():
    return {op.name for op in OpList.FromString(TF_GetBuffer(TF_GetAllOpList())).op}

before = registered()
import tensorflow_text
print(*registered() - before)
"""
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    names = made.stdout.split()
    assert len(names) > 30
    assert [name for name in names if not name.startswith(op_libraries.PACKAGES["tensorflow_text"])] == []


# --- other libraries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["shared object", "module"])
def test_an_op_library_registers_ops(tf, tmp_path, thrice, monkeypatch, kind):
    library = str(thrice)
    if kind == "module":
        library = "thrice_ops"
        (tmp_path / "thrice_ops.py").write_text(f"import tensorflow\ntensorflow.load_op_library({str(thrice)!r})\n")
        monkeypatch.syspath_prepend(tmp_path)
    path = model_with(tf, tmp_path / "1", "TfsClientThrice")
    with Platforms(PlatformOptions(op_libraries=[library])) as platforms:
        servable = platforms.loads["tensorflow"](str(path))
        assert run(servable, np.float32([1, 2])).tolist() == [3, 6]
        servable.close()


@pytest.mark.parametrize(
    ("library", "status"),
    [
        (
            "no_such_module",
            "INVALID_ARGUMENT: {what}: expected a Python module, which cannot be loaded: ModuleNotFound",
        ),
        (
            "module_that_exits",
            "INVALID_ARGUMENT: {what}: expected a Python module, which cannot be loaded: SystemExit: 0",
        ),
        ("{}/none.so", "NOT_FOUND: {what}: {}/none.so; No such file or directory"),
        ("{}/text.so", "INVALID_ARGUMENT: {what}: expected a shared object built for TensorFlow 2."),
        ("file://{}/text.so", "INVALID_ARGUMENT: {what}: expected a shared object built for TensorFlow 2."),
        ("{}/pipe.so", "INVALID_ARGUMENT: {what}: {}/pipe.so: expected a regular file, got a named pipe"),
    ],
)
def test_an_op_library_that_cannot_be_loaded_fails_the_start(tmp_path, capsys, monkeypatch, library, status):
    (tmp_path / "text.so").write_text("no shared object")
    (tmp_path / "module_that_exits.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(tmp_path)
    os.mkfifo(tmp_path / "pipe.so")
    library = library.replace("{}", str(tmp_path))
    status = status.replace("{what}", f"op library '{library}' (--op_library)").replace("{}", str(tmp_path))
    assert command.main(["--embedded", f"--port={free_port()}", f"--op_library={library}"]) == 255
    out = capsys.readouterr().out
    assert out.startswith("Failed to start server. Error: ")
    assert status in out
