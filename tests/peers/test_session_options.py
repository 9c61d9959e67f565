"""The options of TensorFlow's sessions: placement, precision, and compilation by XLA."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from peers.exported import quiet
from peers.saved import error_of, run, save
from tcp import free_port

from tfs_client import StatusCode
from tfs_client.cli.serve import command
from tfs_client.server.backends import saved_model
from tfs_client.server.backends.session_options import SessionOptions
from tfs_client.server.lifecycle.platforms import PlatformOptions, Platforms

pytestmark = pytest.mark.peer


X = np.float32([1, 2])


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_gpu(tf, tmp_path):
    """A model without variables, pinned to a GPU."""

    def build(x):
        with tf.device("/device:GPU:0"):
            return 2 * x

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("needs a machine without a GPU")
    return save(tf, tmp_path / "1", build)


def test_a_model_that_is_pinned_to_a_missing_gpu_is_not_loaded(on_gpu):
    code, details = error_of(saved_model.load, str(on_gpu))
    assert code is StatusCode.INVALID_ARGUMENT
    assert details.startswith("Cannot assign a device for operation mul")
    assert "was explicitly assigned to /device:GPU:0 but available devices are [ /job:localhost" in details


def test_soft_placement_lets_such_a_model_run(on_gpu, tmp_path):
    (tmp_path / "session").write_text("allow_soft_placement: true")
    with Platforms(PlatformOptions(session_config_file=str(tmp_path / "session"))) as platforms:
        servable = platforms.loads["tensorflow"](str(on_gpu))
        assert run(servable, X).tolist() == [2, 4]
        servable.close()


def test_an_op_without_a_kernel_for_this_machine_is_not_loaded(tf, tmp_path):
    def build(x):
        one = tf.ones([1, 1, 1])
        return tf.reshape(tf.raw_ops.CudnnRNN(input=one, input_h=one, input_c=one, params=x).output, [-1])

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("needs a machine without a GPU")
    code, details = error_of(saved_model.load, str(save(tf, tmp_path / "1", build)))
    assert code is StatusCode.INVALID_ARGUMENT
    assert details.startswith("No OpKernel was registered to support Op 'CudnnRNN'")


def test_threads_and_gpu_fraction_are_those_of_the_flags(tf):
    file = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=7, inter_op_parallelism_threads=8)
    file.gpu_options.per_process_gpu_memory_fraction = 0.9
    file.gpu_options.allow_growth = True
    file.device_filters.append("/cpu:0")
    config = SessionOptions(file, intra_op=2, gpu_memory_fraction=0.25).config_proto()
    assert (config.intra_op_parallelism_threads, config.inter_op_parallelism_threads) == (2, 0)
    assert config.gpu_options.per_process_gpu_memory_fraction == 0.25
    assert config.gpu_options.allow_growth
    assert list(config.device_filters) == ["/cpu:0"]


def test_a_file_with_a_field_that_tensorflow_does_not_know_fails_the_start(tf, tmp_path, capsys):
    (tmp_path / "session").write_text("no_such_field: 1")
    file = f"--tensorflow_session_config_file={tmp_path}/session"
    assert command.main(["--embedded", f"--port={free_port()}", file]) == 255
    error = f"INVALID_ARGUMENT: Invalid protobuf file: '{tmp_path}/session'"
    assert capsys.readouterr().out == f"Failed to start server. Error: {error}\n"


# --- precision --------------------------------------------------------------------------------------------------------


def test_bfloat16_is_a_rewrite_of_the_graph(tf, caplog):
    caplog.set_level(logging.INFO)
    rewrites = SessionOptions(mixed_precision="bfloat16").config_proto().graph_options.rewrite_options
    assert rewrites.auto_mixed_precision_onednn_bfloat16 == rewrites.ON
    assert caplog.messages == ["Running inference with bfloat16 auto mixed precision"]


def test_other_mixed_precisions_are_ignored_with_a_warning(tf, caplog):
    assert SessionOptions(mixed_precision="float16").config_proto() == SessionOptions().config_proto()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "float16 auto mixed precision is not supported. Valid option: bfloat16")
    ]


# --- XLA --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiled(tf, tmp_path_factory):
    """A model with a function that XLA compiles, and one that it does not."""

    @tf.function(jit_compile=True)
    def twice(x):
        return 2 * x

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def compiled(self, x):
            return {"y": twice(x)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def plain(self, x):
            return {"y": x + 1}

    path, model = tmp_path_factory.mktemp("compiled") / "1", Model()
    with quiet():
        tf.saved_model.save(model, str(path), signatures={"serving_default": model.compiled, "plain": model.plain})
    return path


@pytest.fixture
def enable_xla(tf):
    """Undoes what disables XLA in the process."""
    yield
    library = ctypes.CDLL(os.path.join(tf.sysconfig.get_lib(), "libtensorflow_cc.so.2"))
    enable = library._ZN10tensorflow20EnableXlaCompilationEv
    enable.restype = None
    enable()


@pytest.mark.usefixtures("enable_xla")
def test_without_xla_calls_of_compiled_functions_fail_and_others_do_not(compiled):
    servable = saved_model.load(str(compiled), options=SessionOptions(xla=False))
    for _ in range(2):
        code, details = error_of(run, servable, X)
        assert code is StatusCode.INTERNAL
        assert details.startswith("XLA compilation disabled\n\t [[")
        assert run(servable, X, "plain").tolist() == [2, 3]
    servable.close()


def test_with_xla_compiled_functions_run(compiled):
    servable = saved_model.load(str(compiled), options=SessionOptions(xla=True))
    assert run(servable, X).tolist() == [2, 4]
    servable.close()


# --- oneDNN -----------------------------------------------------------------------------------------------------------


def test_without_onednn_a_convolution_refuses_inputs_of_another_rank(tf, tmp_path):
    def build(x):
        return tf.nn.conv2d(x, tf.ones([1, 1, 1, 1]), 1, "SAME")

    path = save(tf, tmp_path / "1", build, shape=(None, None, None, 1))
    program = f"""
import numpy
from tfs_client import CallError
from tfs_client.server.backends import saved_model
servable = saved_model.load({str(path)!r})
try:
    servable.run("serving_default", {{"x": numpy.ones((1, 1, 1), numpy.float32)}}, ["y"])
except CallError as error:
    print(error.code.name, error.details.splitlines()[0])
"""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    made = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment, check=True
    )
    assert made.stdout == "INVALID_ARGUMENT convolution input must be 4-dimensional: [1,1,1]\n"
