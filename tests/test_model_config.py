"""Configurations of a model server: checked when made, changed by making another, read and written without loss."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest
from google.protobuf import text_format
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client.errors import ConfigError
from tfs_client.model_config import AllVersions, Labels, Latest, ModelConfig, ModelServerConfig, SpecificVersions
from tfs_client.protos import _pool
from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema
from tfs_client.protos.tensorflow_serving.config.logging_config_pb2 import LoggingConfig
from tfs_client.protos.tensorflow_serving.config.monitoring_config_pb2 import MonitoringConfig

RESNET = ModelConfig("resnet", "/models/resnet", labels={"stable": 3, "canary": 4})
BERT = ModelConfig("bert", "s3://models/bert", versions=SpecificVersions(2, 1))
BOTH = ModelServerConfig([RESNET, BERT])
LOGGED = LoggingConfig(sampling_config={"sampling_rate": 0.5}).SerializeToString()

TEXT = """\
model_config_list {
  config {
    name: "resnet"
    base_path: "/models/resnet"
    model_platform: "tensorflow"
    model_version_policy {
      latest {
        num_versions: 1
      }
    }
    version_labels {
      key: "canary"
      value: 4
    }
    version_labels {
      key: "stable"
      value: 3
    }
  }
  config {
    name: "bert"
    base_path: "s3://models/bert"
    model_platform: "tensorflow"
    model_version_policy {
      specific {
        versions: 1
        versions: 2
      }
    }
  }
}
"""


def listing(fields: str) -> str:
    """A configuration of one model, with its fields in protobuf text."""
    return f"model_config_list {{ config {{ {fields} }} }}"


def message(text: str) -> schema.ModelServerConfig:
    return text_format.Parse(text, schema.ModelServerConfig())


MODEL = 'name: "m" base_path: "/m" '


@pytest.mark.parametrize("path", ["/", "/models/m", "gs://bucket/m", "s3://bucket", "hdfs://host:1/m", "s3://"])
def test_base_paths_are_absolute_or_uris(path):
    assert ModelConfig("m", path).base_path == path


@pytest.mark.parametrize("path", ["models/m", "./m", "~/m", "s3:/m", "C:\\m", "C://m", "://m", "1s://m", "s-3://m"])
def test_other_base_paths_are_refused_and_the_error_names_the_model(path):
    with pytest.raises(
        ConfigError, match=r"model 'm': expected an absolute base path, or a URI.*as the server sees it"
    ):
        ModelConfig("m", path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelConfig("", "/m"), "expected a model name as a non-empty text, got ''"),
        (lambda: ModelConfig(None, "/m"), "expected a model name"),
        (lambda: ModelConfig("\ud800", "/m"), "expected a model name that UTF-8 can encode"),
        (lambda: ModelConfig("m", ""), "model 'm': expected a base path"),
        (lambda: ModelConfig("m", b"/m"), "model 'm': expected a base path"),
        (lambda: ModelConfig("m", "/m", platform=""), "model 'm': expected a platform"),
        (lambda: ModelConfig("m", "/m", versions=3), "expected Latest, AllVersions, SpecificVersions or None, got 3"),
        (lambda: ModelConfig("m", "/m", versions=Latest), "expected Latest, AllVersions"),
        (lambda: ModelConfig("m", "/m", labels=["stable"]), "expected version numbers by label"),
        (lambda: ModelConfig("m", "/m", labels={"": 1}), "expected a version label"),
        (lambda: ModelConfig("m", "/m", labels={1: 1}), "expected a version label"),
        (lambda: ModelConfig("m", "/m", labels={"a": "1"}), "expected a version number from 0 to 9223372036854775807"),
        (lambda: ModelConfig("m", "/m", logging_config=b"\xff"), "expected a serialized LoggingConfig"),
        (lambda: ModelConfig("m", "/m", logging_config="x"), "expected a serialized LoggingConfig"),
        (lambda: ModelConfig("m", "/m", logging_config=b"\x98\x06\x01"), "LoggingConfig has fields of a newer schema"),
        (lambda: Latest(0), "expected a number of versions from 1 to 4294967295, got 0"),
        (lambda: Latest(1 << 32), "expected a number of versions"),
        (lambda: Latest(True), "expected a number of versions"),
        (lambda: SpecificVersions(), "at least one version, got none; to unload a model, leave it out"),
        (lambda: SpecificVersions(-1), "expected a version number from 0"),
        (lambda: SpecificVersions(1 << 63), "expected a version number from 0"),
        (lambda: SpecificVersions([1, 2]), "expected a version number from 0"),
        (lambda: SpecificVersions(1.0), "expected a version number from 0"),
        (lambda: ModelServerConfig([RESNET, RESNET]), "expected each model name once, got 'resnet' twice"),
        (lambda: ModelServerConfig(RESNET), "put a single one in a list"),
        (lambda: ModelServerConfig(["resnet"]), "expected ModelConfigs, got 'resnet'"),
    ],
)
def test_invalid_values_are_refused_when_constructed(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    "value", [RESNET, BERT, BOTH, Latest(2), AllVersions(), SpecificVersions(1, 2), RESNET.labels, ModelServerConfig()]
)
def test_everything_is_hashable_and_survives_pickle(value):
    back = pickle.loads(pickle.dumps(value))
    assert back == value
    assert hash(back) == hash(value)
    assert repr(back) == repr(value)


def test_arguments_are_copied_and_cannot_be_changed():
    given_labels = {"stable": 1}
    model = ModelConfig("m", "/m", labels=given_labels)
    given_labels["stable"] = 2
    assert model.labels == {"stable": 1}
    with pytest.raises(TypeError):
        model.labels["stable"] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.name = "n"
    with pytest.raises(dataclasses.FrozenInstanceError):
        BOTH.models = ()


def test_the_order_of_labels_and_versions_does_not_matter():
    other = ModelConfig("resnet", "/models/resnet", labels={"canary": np.int64(4), "stable": 3})
    assert other == RESNET
    assert hash(other) == hash(RESNET)
    assert SpecificVersions(2, 1, 2) == SpecificVersions(1, 2)
    assert Labels({"b": 1, "a": 2}) == {"a": 2, "b": 1}


def test_everything_prints():
    assert str(RESNET) == "resnet: /models/resnet, latest 1, label canary 4, label stable 3"
    assert str(BERT) == "bert: s3://models/bert, versions 1, 2"
    other = ModelConfig("m", "/m", platform="mine", versions=None, logging_config=LOGGED)
    assert str(other) == "m: /m, latest 1 by default, platform mine, with a logging_config"
    assert str(ModelConfig("m", "/m", versions=AllVersions())) == "m: /m, all versions"
    assert str(ModelConfig("m", "/m", versions=SpecificVersions(7))) == "m: /m, version 7"
    assert str(BOTH) == f"{RESNET}\n{BERT}"
    assert str(ModelServerConfig()) == "no models"
    assert eval(repr(BOTH)) == BOTH


def test_a_configuration_is_a_sequence_of_models_by_name():
    assert len(BOTH) == 2
    assert list(BOTH) == [RESNET, BERT]
    assert BOTH.names == ("resnet", "bert")
    assert BOTH["bert"] is BERT
    assert "bert" in BOTH
    assert BERT in BOTH
    assert "t5" not in BOTH
    with pytest.raises(KeyError, match="unknown model 't5'; known models: resnet, bert"):
        BOTH["t5"]


def test_add_and_remove():
    model = ModelConfig("t5", "/models/t5")
    assert list(BOTH.add(model)) == [RESNET, BERT, model]
    assert list(BOTH.remove("resnet")) == [BERT]
    assert list(BOTH) == [RESNET, BERT]
    assert len(BOTH.remove("resnet").remove("bert")) == 0


def test_add_replaces_only_on_request_and_in_place():
    moved = ModelConfig("resnet", "/elsewhere")
    with pytest.raises(ConfigError, match="model 'resnet' already exists; pass replace=True"):
        BOTH.add(moved)
    assert list(BOTH.add(moved, replace=True)) == [moved, BERT]
    assert list(BOTH.remove("bert").add(BERT, replace=True)) == [RESNET, BERT]


def test_labels_are_set_moved_and_removed():
    assert BOTH.label("bert", "stable", 1)["bert"].labels == {"stable": 1}
    assert BOTH.label("resnet", "stable", 4)["resnet"].labels == {"stable": 4, "canary": 4}
    assert BOTH.unlabel("resnet", "canary")["resnet"].labels == {"stable": 3}
    with pytest.raises(ConfigError, match="model 'resnet' has no label 'old'; known labels: canary, stable"):
        BOTH.unlabel("resnet", "old")


def test_serve_sets_the_policy():
    assert BOTH.serve("resnet", AllVersions())["resnet"].versions == AllVersions()
    assert BOTH.serve("resnet", None)["resnet"].versions is None
    assert BOTH.serve("resnet", AllVersions())["bert"] is BERT


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.remove("t5"),
        lambda config: config.label("t5", "stable", 1),
        lambda config: config.unlabel("t5", "stable"),
        lambda config: config.serve("t5", Latest()),
    ],
)
def test_changing_a_missing_model_is_refused(change):
    with pytest.raises(ConfigError, match="unknown model 't5'; known models: resnet, bert"):
        change(BOTH)


def test_the_difference_has_a_line_for_each_change():
    base = ModelServerConfig([ModelConfig("old", "/old"), RESNET, ModelConfig("m", "/m", logging_config=LOGGED)])
    new = ModelServerConfig(
        [
            ModelConfig("m", "/n", platform="mine", versions=None),
            ModelConfig("resnet", "/models/resnet", versions=SpecificVersions(3, 4), labels={"stable": 4, "next": 5}),
            BERT,
        ]
    )
    assert new.difference(base).splitlines() == [
        "~ m: base path /m -> /n",
        "~ m: platform tensorflow -> mine",
        "~ m: latest 1 -> latest 1 by default",
        "~ m: another logging_config",
        "~ resnet: latest 1 -> versions 3, 4",
        "~ resnet: label canary 4 -> none",
        "~ resnet: label next none -> 5",
        "~ resnet: label stable 3 -> 4",
        "+ bert: s3://models/bert, versions 1, 2",
        "- old",
    ]


def test_the_difference_of_equal_configurations_is_empty():
    assert BOTH.difference(BOTH) == ""
    assert ModelServerConfig([BERT, RESNET]).difference(BOTH) == ""
    assert ModelServerConfig().difference(ModelServerConfig()) == ""


def test_text_is_that_of_a_model_config_file():
    assert BOTH.to_text() == TEXT
    assert ModelServerConfig.from_text(TEXT) == BOTH
    assert ModelServerConfig().to_text() == "model_config_list {\n}\n"


def test_the_example_of_the_documentation_is_read():
    text = """
        # Two versions, one of them stable.
        model_config_list: { config: [ {
          name: 'm', base_path: '/models/m', model_platform: 'tensorflow'
          model_version_policy { specific { versions: [1, 2] } }
          version_labels { key: 'stable' value: 1 }
        } ] }
    """
    model = ModelConfig("m", "/models/m", versions=SpecificVersions(1, 2), labels={"stable": 1})
    assert list(ModelServerConfig.from_text(text)) == [model]


@pytest.mark.parametrize(
    ("fields", "versions"),
    [
        ("", None),
        ("model_version_policy {}", None),
        ("model_version_policy { latest {} }", Latest(1)),
        ("model_version_policy { latest { num_versions: 3 } }", Latest(3)),
        ("model_version_policy { all {} }", AllVersions()),
        ("model_version_policy { specific { versions: 9223372036854775807 } }", SpecificVersions((1 << 63) - 1)),
    ],
)
def test_policies_match_the_servers(fields, versions):
    config = ModelServerConfig.from_text(listing(MODEL + 'model_platform: "tensorflow" ' + fields))
    assert config["m"].versions == versions


def test_the_deprecated_model_type_is_read_as_the_platform():
    config = ModelServerConfig.from_text(listing(MODEL + "model_type: TENSORFLOW"))
    assert config["m"].platform == "tensorflow"
    assert "model_type" not in config.to_text()


def test_a_logging_config_is_kept():
    text = listing(
        MODEL + 'model_platform: "tensorflow" logging_config { log_collector_config { type: "x" } '
        'custom_logging_config { type_url: "type.googleapis.com/unknown.Type" value: "\\001" } }'
    )
    config = ModelServerConfig.from_text(text)
    # As bytes: the pure-Python runtime compares no Any whose type it does not know.
    assert config.to_proto().SerializeToString() == message(config.to_text()).SerializeToString()
    assert config.to_proto().model_config_list.config[0].logging_config.log_collector_config.type == "x"
    assert ModelServerConfig.from_text(config.to_text()) == config
    empty = ModelServerConfig.from_text(listing(MODEL + 'model_platform: "tensorflow" logging_config {}'))
    assert empty["m"].logging_config == b""
    assert "logging_config" in empty.to_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model_config_list {\n  config { nme: 'm' }\n}", r'line 2, column 15: .* no field named "nme"'),
        ("\nmodel_config_list {\n  config {", "line 3, column"),
        ("models {}", 'line 1, column 8: .*no field named "models"'),
        (listing("name: 'a' name: 'b'"), "line 1"),
        (listing("version_labels { key: 'a' value: 9223372036854775808 }"), "line 1"),
        ("model_config_list {} custom_model_config {}", "line 1"),
        ("custom_model_config { [type.googleapis.com/no.Type] {} }", "expected a ModelServerConfig in protobuf text"),
        ("custom_model_config {}", "expected a model_config_list, got custom_model_config"),
        ("", "expected a model_config_list, got nothing; to serve no models, write `model_config_list {}`"),
        (listing("base_path: '/m' model_platform: 'tensorflow'"), "expected a model name"),
        (listing("name: 'm' model_platform: 'tensorflow'"), "model 'm': expected a base path"),
        (listing("name: 'm' base_path: 'm' model_platform: 'x'"), "model 'm': expected an absolute base path"),
        (listing(MODEL), "model 'm': expected a platform"),
        (
            listing(MODEL + "model_platform: 'x' model_type: TENSORFLOW"),
            "model 'm': expected model_platform or .* both",
        ),
        (listing(MODEL + "model_type: OTHER"), "model 'm': expected model_type TENSORFLOW, got 2"),
        (listing(MODEL + "model_platform: 'x' model_version_policy { specific {} }"), "at least one version"),
        (listing(MODEL + "model_platform: 'x'") * 2, "expected each model name once, got 'm' twice|line 1"),
    ],
)
def test_text_that_cannot_be_represented_is_refused(text, expected):
    with pytest.raises(ConfigError, match=expected):
        ModelServerConfig.from_text(text)


def test_a_file_is_read_and_named_in_errors(tmp_path):
    path = tmp_path / "models.config"
    path.write_text(BOTH.to_text(), encoding="utf-8")
    assert ModelServerConfig.from_file(path) == BOTH
    assert ModelServerConfig.from_file(str(path)) == BOTH
    path.write_text("model_config_list {\n oops }", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"models\.config: line 2"):
        ModelServerConfig.from_file(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"models\.config: line 1, column 1: .*non ascii codepoint 255"):
        ModelServerConfig.from_file(path)
    with pytest.raises(ConfigError, match=r"cannot read .*No such file"):
        ModelServerConfig.from_file(tmp_path / "none")
    with pytest.raises(ConfigError, match="/dev/zero: expected a file of at most 16777216 bytes, got a larger one"):
        ModelServerConfig.from_file("/dev/zero")


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x00\x98\x06\x01",  # field 99 beside an empty list
        b"\x0a\x05\x0a\x03\x98\x06\x01",  # in a model
        b"\x0a\x07\x0a\x05\x3a\x03\x98\x06\x01",  # in its version policy
    ],
)
def test_fields_of_a_later_schema_are_refused(data):
    with pytest.raises(ConfigError, match="ModelServerConfig has fields of a newer schema"):
        ModelServerConfig.from_proto(schema.ModelServerConfig.FromString(data))


@pytest.mark.parametrize("proto", [MonitoringConfig(), schema.ModelConfigList(), None, b"", BOTH])
def test_other_messages_are_refused(proto):
    with pytest.raises(ConfigError, match="expected a ModelServerConfig message, got"):
        ModelServerConfig.from_proto(proto)


def test_messages_of_another_package_are_read():
    strange = _pool._load()  # as tensorflow-serving-api has them: the same schema in a pool and classes of its own
    cls = GetMessageClass(strange.FindMessageTypeByName("tensorflow.serving.ModelServerConfig"))
    assert cls is not schema.ModelServerConfig
    assert ModelServerConfig.from_proto(text_format.Parse(TEXT, cls())) == BOTH


def test_a_message_read_is_not_touched():
    proto = message(TEXT)
    config = ModelServerConfig.from_proto(proto)
    assert proto == message(TEXT)
    proto.model_config_list.config[0].name = "other"
    assert config.names == ("resnet", "bert")


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
versions = st.integers(0, (1 << 63) - 1)
policies = st.one_of(
    st.none(),
    st.builds(Latest, st.integers(1, (1 << 32) - 1)),
    st.just(AllVersions()),
    st.lists(versions, min_size=1, max_size=4).map(lambda listed: SpecificVersions(*listed)),
)
logs = st.builds(
    lambda kind, rate: LoggingConfig(
        log_collector_config={"type": kind}, sampling_config={"sampling_rate": rate}
    ).SerializeToString(),
    names,
    st.floats(0, 1),
)
models = st.builds(
    ModelConfig,
    names,
    st.one_of(names.map("/{}".format), names.map("gs://{}".format)),
    platform=st.just("tensorflow") | names,
    versions=policies,
    labels=st.dictionaries(names, versions, max_size=3),
    logging_config=st.none() | st.just(b"") | logs,
)
configs = st.lists(models, max_size=4, unique_by=lambda model: model.name).map(ModelServerConfig)


@settings(max_examples=40)  # each is a configuration of many models
@given(configs)
def test_a_configuration_survives_text(config):
    assert ModelServerConfig.from_text(config.to_text()) == config


@settings(max_examples=40)  # each is a configuration of many models
@given(configs)
def test_a_configuration_survives_bytes(config):
    data = config.to_proto().SerializeToString()
    assert ModelServerConfig.from_proto(schema.ModelServerConfig.FromString(data)) == config


@settings(max_examples=40)  # each is a configuration of many models
@given(configs)
def test_protobuf_reads_and_writes_the_same_text(config):
    assert message(config.to_text()) == config.to_proto()
    assert ModelServerConfig.from_text(text_format.MessageToString(config.to_proto())) == config


@settings(max_examples=40)  # each is a configuration of many models
@given(configs, configs)
def test_the_difference_is_empty_only_between_equal_configurations(one, other):
    assert one.difference(one) == ""
    assert (one.difference(other) == "") == (set(one) == set(other))


def test_protobuf_is_imported_only_for_reading_and_writing():
    code = """
import sys
from tfs_client.model_config import ModelConfig, ModelServerConfig
from tfs_client.model_config import Latest
config = ModelServerConfig([ModelConfig("m", "/m", labels={"a": 1})]).serve("m", Latest(2))
assert not any(name.startswith("google.protobuf") for name in sys.modules)
config.to_text()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
