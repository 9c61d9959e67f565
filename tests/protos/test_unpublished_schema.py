"""Config files' messages that no published wheel carries, against the numbers in the server's documentation."""

import importlib

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from tfs_client.protos.tensorflow_serving.config import monitoring_config_pb2, platform_config_pb2
from tfs_client.protos.tensorflow_serving.servables.tensorflow import session_bundle_config_pb2

TENSORFLOW = "tensorflow_serving.servables.tensorflow"
INT32, INT64 = "google.protobuf.Int32Value", "google.protobuf.Int64Value"
NAMED = "tensorflow.NamedTensorProto"

# (module, message): {number: (name, type)}; "[]" marks a repeated field.
MESSAGES = {
    ("tensorflow_serving.config.monitoring_config", "PrometheusConfig"): {1: ("enable", "bool"), 2: ("path", "string")},
    ("tensorflow_serving.config.monitoring_config", "MonitoringConfig"): {
        1: ("prometheus_config", "tensorflow.serving.PrometheusConfig"),
    },
    ("tensorflow_serving.config.ssl_config", "SSLConfig"): {
        1: ("server_key", "string"),
        2: ("server_cert", "string"),
        3: ("custom_ca", "string"),
        4: ("client_verify", "bool"),
    },
    (f"{TENSORFLOW}.saved_model_bundle_source_adapter", "SavedModelBundleSourceAdapterConfig"): {
        1000: ("legacy_config", "tensorflow.serving.SessionBundleConfig"),
    },
    (f"{TENSORFLOW}.thread_pool_factory_config", "ThreadPoolFactoryConfig"): {
        1: ("thread_pool_factory_config", "google.protobuf.Any"),
    },
    (f"{TENSORFLOW}.session_bundle_config", "ModelWarmupOptions"): {
        1: ("num_request_iterations", INT32),
        2: ("num_model_warmup_threads", INT32),
        3: ("model_name", "string"),
        4: ("model_version", "int64"),
        5: ("enable_all_batch_sizes_warmup", "bool"),
    },
    (f"{TENSORFLOW}.session_bundle_config", "SessionBundleConfig"): {
        1: ("session_target", "string"),
        2: ("session_config", "tensorflow.ConfigProto"),
        3: ("batching_parameters", "tensorflow.serving.BatchingParameters"),
        4: ("session_run_load_threadpool_index", INT32),
        5: ("experimental_transient_ram_bytes_during_load", "uint64"),
        6: ("saved_model_tags", "string[]"),
        778: ("experimental_fixed_input_tensors", f"{NAMED}[]"),
        779: ("enable_model_warmup", "bool"),
        780: ("model_warmup_options", "tensorflow.serving.ModelWarmupOptions"),
        781: ("enable_session_metadata", "bool"),
        782: ("remove_unused_fields_from_bundle_metagraph", "bool"),
        783: ("prefer_tflite_model", "bool"),
    },
    (f"{TENSORFLOW}.session_bundle_config", "BatchingParameters"): {
        1: ("max_batch_size", INT64),
        2: ("batch_timeout_micros", INT64),
        3: ("max_enqueued_batches", INT64),
        4: ("num_batch_threads", INT64),
        5: ("thread_pool_name", "google.protobuf.StringValue"),
        6: ("allowed_batch_sizes", "int64[]"),
        7: ("pad_variable_length_inputs", "bool"),
        8: ("enable_large_batch_splitting", "google.protobuf.BoolValue"),
        9: ("max_execution_batch_size", INT64),
    },
}


@pytest.mark.parametrize(("module", "message"), MESSAGES)
def test_fields_are_as_documented(module, message):
    descriptor = importlib.import_module(f"tfs_client.protos.{module}_pb2").DESCRIPTOR
    file = FileDescriptorProto.FromString(descriptor.serialized_pb)
    assert file.package == "tensorflow.serving"
    [found] = [found for found in file.message_type if found.name == message]
    assert {field.number: (field.name, typed(field)) for field in found.field} == MESSAGES[module, message]


@pytest.mark.parametrize("module", sorted({module for module, _ in MESSAGES}))
def test_every_message_has_a_table(module):
    descriptor = importlib.import_module(f"tfs_client.protos.{module}_pb2").DESCRIPTOR
    assert set(descriptor.message_types_by_name) == {message for other, message in MESSAGES if other == module}


def typed(field):
    """The type of a FieldDescriptorProto, written as in the table."""
    scalars = {field.TYPE_BOOL: "bool", field.TYPE_STRING: "string", field.TYPE_INT64: "int64"}
    name = field.type_name.removeprefix(".") or {**scalars, field.TYPE_UINT64: "uint64"}[field.type]
    return f"{name}[]" if field.label == field.LABEL_REPEATED else name


def test_batching_parameters_file_is_read():
    text = "max_batch_size { value: 128 } batch_timeout_micros { value: 0 } allowed_batch_sizes: [64, 128]"
    batching = text_format.Parse(text, session_bundle_config_pb2.BatchingParameters())
    assert batching.max_batch_size.value == 128
    assert batching.HasField("batch_timeout_micros")
    assert not batching.HasField("num_batch_threads")
    assert list(batching.allowed_batch_sizes) == [64, 128]


def test_monitoring_config_file_is_read():
    text = 'prometheus_config { enable: true, path: "/metrics" }'
    monitoring = text_format.Parse(text, monitoring_config_pb2.MonitoringConfig())
    assert (monitoring.prometheus_config.enable, monitoring.prometheus_config.path) == (True, "/metrics")


def test_platform_config_file_is_read():
    text = """
    platform_configs { key: "tensorflow" value { source_adapter_config {
      [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {
        legacy_config {
          session_config { gpu_options { allow_growth: true } }
          batching_parameters { max_batch_size { value: 8 } }
          enable_model_warmup: true
        }
      }
    } } }
    """
    config = platform_config_pb2.PlatformConfigMap()
    text_format.Parse(text, config, descriptor_pool=config.DESCRIPTOR.file.pool)
    adapter = config.platform_configs["tensorflow"].source_adapter_config
    assert adapter.type_url.endswith("/tensorflow.serving.SavedModelBundleSourceAdapterConfig")
    assert adapter.value


def test_unknown_field_in_a_config_file_is_an_error():
    with pytest.raises(text_format.ParseError, match="no_such_field"):
        text_format.Parse("no_such_field: 1", monitoring_config_pb2.MonitoringConfig())
