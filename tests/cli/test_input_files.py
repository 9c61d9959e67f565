"""Requests in files, whatever the files contain."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tfs_client import Signature, TensorSpec
from tfs_client.cli.input_files import arrays_in, requests_in
from tfs_client.errors import ConfigError

TWO = Signature({"x": TensorSpec("float32", (None, 2)), "name": TensorSpec("string", (None,))}, {})


def npy(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, array)  # type: ignore[arg-type]
    return file.getvalue()


def test_an_archive_is_one_request(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.ones((1, 2)), name=np.array(["a"]))
    (request,) = requests_in(str(path), TWO)
    assert request["x"].dtype == np.float32
    assert request["x"].tolist() == [[1.0, 1.0]]
    assert request["name"].tolist() == ["a"]


def test_json_has_one_request_or_several(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    one = {"x": [[1, 2]], "name": [{"b64": "/w=="}]}
    path.write_text(json.dumps(one))
    (request,) = requests_in(str(path), TWO)
    assert request["name"].tolist() == [b"\xff"]
    path.write_text(json.dumps([one, one]))
    assert len(requests_in(str(path), TWO)) == 2


def test_an_archive_that_declares_more_than_it_holds_is_refused_without_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(np.zeros((100, 2), np.float32)))
    data = bytearray(path.read_bytes())
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 1 << 30)  # the size of the member
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"is damaged: .x\.npy. declares 1073741824 bytes, which it cannot hold"):
        arrays_in(str(path))


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.npz", b"PK\x03\x04", "is not a .npz file of numbers or text"),
        ("a.npz", npy(np.ones(2)), "is not a .npz file of numbers or text"),
        ("a.npy", npy(np.ones((1, 2))), "one required input for a .npy file"),
        ("a.json", b"[]", "expected at least one request, got an empty list"),
        ("a.json", b"[1]", "expected an object from input to values"),
        ("a.json", b'{"x": [[1, 2]]}', "'name' is missing"),
        ("a.txt", b"", "expected a .npy, .npz or .json file"),
    ],
)
def test_files_that_are_no_requests_are_refused(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        requests_in(str(path), TWO)
    assert str(raised.value).startswith(repr(str(path)))
    assert text in str(raised.value)


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match="Python objects, which are not read"):
        arrays_in(str(path))
