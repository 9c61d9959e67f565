"""Class names are read from files of any common format, and refused where they do not fit the model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client import ConfigError
from tfs_client.images import Labels, read_labels

ANIMALS = {0: "cat", 1: "dog", 2: "fox"}

LABEL_MAP = """# a comment
item {
  id: 1  name: '/m/01g317'
  display_name: "person\\'s"
}
item { name: "bicycle" id: 7, keypoints { id: 0 label: "wheel" } ancestor_ids: ["a", "b"] frequency: RARE; }
"""


def written(folder: Path, content: str | bytes, suffix: str = ".txt") -> Path:
    path = folder / f"labels{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        ("cat\ndog\nfox", ".txt"),
        ("cat\r\ndog\r\nfox\r\n\r\n", ".txt"),
        ("cat\rdog\rfox\r", ".names"),
        (" cat \n\tdog\nfox\n\n  \n", ""),
        ("\ufeffcat\ndog\nfox\n", ".txt"),
        ("cat\ndog\nfox\n".encode("utf-16"), ".txt"),
        ("cat\ndog\nfox\n", ".csv"),
        ("label\ncat\ndog\nfox\n", ".csv"),
        ('name\n"cat"\n"dog"\n"fox"\n', ".CSV"),
        ("name,colour\ncat,black\ndog,brown\nfox,red", ".csv"),
        ('["cat", "dog", "fox"]', ".json"),
        ('\n  ["cat", "dog", "fox"]', ".txt"),
        ('[["n02123045", "cat"], ["n02084071", "dog"], ["n02118333", "fox"]]', ".json"),
    ],
)
def test_lists_start_at_class_0(tmp_path: Path, content: str | bytes, suffix: str) -> None:
    labels = read_labels(written(tmp_path, content, suffix))
    assert labels.names == ANIMALS
    assert not labels.numbered


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        ("0: cat\n1: dog\n2: fox\n", ".txt"),
        ("0 cat\n1 dog\n2 fox\n", ".txt"),
        ("0\tcat\r\n1\tdog\r\n2\tfox\r\n", ".txt"),
        ("0,cat\n1,dog\n2,fox\n", ".txt"),
        ("0. cat\n1. dog\n2. fox\n", ".txt"),
        ("2 fox\n0 cat\n1 dog\n", ".txt"),
        ("id,name\n2,fox\n0,cat\n1,dog\n", ".csv"),
        ("id,name\n2,fox\n0,cat\n1,dog\n", ".txt"),
        ("Index;Label\n0;cat\n1;dog\n2;fox\n", ".csv"),
        ("class\tlabel\n0\tcat\n1\tdog\n2\tfox\n", ".tsv"),
        ("name,label\ncat,0\ndog,1\nfox,2\n", ".csv"),
        ("index,mid,display_name\n0,/m/1,cat\n1,/m/2,dog\n2,/m/3,fox\n", ".csv"),
        ("id,animal\n00,cat\n01,dog\n02,fox\n", ".csv"),
        ("0,cat\n1,dog\n2,fox\n", ".csv"),
        (",0\n0,cat\n1,dog\n2,fox\n", ".csv"),
        ('{"2": "fox", "0": "cat", "1": "dog"}', ".json"),
        ('{"0": ["n02123045", "cat"], "1": ["n02084071", "dog"], "2": ["n02118333", "fox"]}', ".json"),
        ('{"dog": 1, "cat": 0, "fox": 2}', ".json"),
        (
            '[{"id": 2, "name": "fox"}, {"id": 0, "name": "cat"}, {"id": 1, "name": "dog", "supercategory": "x"}]',
            ".json",
        ),
        ("item { id: 0 name: 'cat' } item: { id: 1 name: 'dog' }\nitem{ id: 2 name: 'fox' }", ".txt"),
    ],
)
def test_numbers_in_the_file_are_obeyed(tmp_path: Path, content: str, suffix: str) -> None:
    labels = read_labels(written(tmp_path, content, suffix))
    assert labels.names == ANIMALS
    assert labels.numbered


def test_label_maps_have_their_ids_and_display_names(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path, LABEL_MAP, ".pbtxt"))
    assert labels.names == {1: "person's", 7: "bicycle"}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (
            "tench, Tinca tinca\ngreat white shark, Carcharodon\n",
            ["tench, Tinca tinca", "great white shark, Carcharodon"],
        ),
        ("a\x0bb\nc\x0cd\x1ce\nf\u2028g\x85h\n", ["a\x0bb", "c\x0cd\x1ce", "f\u2028g\x85h"]),
        ("1 euro\n2 euro\n", ["1 euro", "2 euro"]),
        ("911 Carrera\n718 Boxster\n", ["911 Carrera", "718 Boxster"]),
        ("0: cat\n1 dog\n", ["0: cat", "1 dog"]),
        ("0:30\n1:45\n", ["0:30", "1:45"]),
        ("7 of hearts\n", ["7 of hearts"]),
        ("0\n1\n2\n", ["0", "1", "2"]),
        ("crane\ncrane\n", ["crane", "crane"]),
        ("café\nnaïve\n".encode("latin-1"), ["café", "naïve"]),
        ("café\n猫\n", ["café", "猫"]),
    ],
)
def test_lines_are_names_as_they_are(tmp_path: Path, content: str | bytes, names: list[str]) -> None:
    assert list(read_labels(written(tmp_path, content)).names.values()) == names


def test_quoted_cells_hold_delimiters(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,name\n0,"tench, Tinca ""t"" tinca"\n1,a;b\n', ".csv")
    assert read_labels(path).names == {0: 'tench, Tinca "t" tinca', 1: "a;b"}


@pytest.mark.parametrize(
    ("content", "suffix", "cause"),
    [
        ("", ".txt", "an empty file"),
        ("\n \n", ".txt", "an empty file"),
        ("cat\n\ndog\n", ".txt", "line 2 is empty"),
        ("1: cat\n3: dog\n", ".txt", "numbered from 0 or 1 without gaps, or not at all, got 2 lines .* from 1 to 3"),
        ("5\tcat\n6\tdog\n", ".txt", "expected lines that are numbered from 0 or 1"),
        ("\ncat\n", ".txt", "line 1 is empty"),
        ("a\0b", ".txt", "zero bytes"),
        (b"caf\xe9\nit\x92s", ".txt", "got the byte 0x92 in line 2.*save the file as UTF-8"),
        (b"\xff\xfea\x00\x00\xd8", ".txt", "expected UTF-16"),
        ("<!DOCTYPE html><html>", ".txt", "got HTML or XML"),
        ("names:\n  0: cat\n", ".yaml", r"got \.yaml"),
        ("id,name\n0,cat\n0,dog\n", ".csv", "line 3: expected each number once, got 0 for 'cat' and 'dog'"),
        ("id,name\n-1,cat\n", ".csv", "line 2: expected the number of a class, from 0 to 999999999, got '-1'"),
        ("id,name\n0,cat\n1\n", ".csv", "line 3: expected 2 columns, as in the first row, got 1"),
        (
            "name\ncat\ntench, Tinca\n",
            ".csv",
            "line 3: expected 1 columns.*put names that contain ',' into double quotes",
        ),
        ("id,name\n0,cat\n\n1,dog\n", ".csv", "line 3 is empty"),
        ("id,name\n0,\n", ".csv", "expected a name for number 0, got an empty one"),
        ('id,name\n0,"cat\n1,dog\n', ".csv", "expected CSV: unexpected end of data"),
        ("id,name\n", ".csv", "expected rows below the header"),
        ("name,count\ncat,3\ndog,8\n", ".csv", "expected one column of names.*got columns 'name', 'count'"),
        ("cat,3\ndog,8\n", ".csv", "expected a header.*above numbers with gaps"),
        ("/m/1,cat\n/m/2,dog\n", ".csv", "expected one column of names.*got no header"),
        ("class,label\ncat,animal\ndog,animal\n", ".csv", "expected one column of names"),
        ('["cat"]', ".csv", "expected a table.*got JSON"),
        ("cat\n", ".json", "expected JSON"),
        ("[PAD]\ncat\n", ".txt", "expected JSON, as the suffix or the first character shows"),
        ('["cat",\n"dog",]', ".json", "in line 2, column"),
        ('["cat", 5]', ".json", "expected JSON of one of the forms"),
        ('{"0": "cat", "dog": 1}', ".json", "expected JSON of one of the forms"),
        ("[]", ".json", "expected JSON of one of the forms"),
        ('{"0": "cat", "0": "dog"}', ".json", "each name in a JSON object once, got '0' twice"),
        ('{"0": "cat", "00": "dog"}', ".json", "each number once, got 0 for 'cat' and 'dog'"),
        ('{"cat": 0, "dog": 0}', ".json", "each number once, got 0"),
        ('{"cat": 0, "dog": true}', ".json", "expected JSON of one of the forms"),
        ('{"one": "cat"}', ".json", "expected the number of a class, .* got 'one'"),
        ('{"cat": ' + "9" * 5000 + "}", ".json", "expected the number of a class"),
        ('["cat", ""]', ".json", "expected a name for number 1"),
        ('["\\ud800"]', ".json", "half of a surrogate pair"),
        ("[" * 100_000, ".json", "nested too deeply"),
        ("# nothing\n", ".pbtxt", "expected class names, got none"),
        ("item { id: 1 }", ".pbtxt", "line 1: Expected an item with id, and name or display_name"),
        ("item { id: 1 name: 'cat'\n", ".pbtxt", "line 2: Expected a field, or }"),
        ("item { id: 1 id: 2 name: 'cat' }", ".pbtxt", "Expected id once"),
        ("item { id: 010 name: 'cat' }", ".pbtxt", "Expected the number of a class, got: 010"),
        ("item { id: 1 name: 'cat' } item { id: 1 name: 'dog' }", ".pbtxt", "each number once"),
        ("item { id: 1 name: 'cat' } { }", ".pbtxt", "Expected item, got: {"),
        ("item { id: 1 name: 'cat' keypoints { ", ".pbtxt", "Expected a field"),
    ],
)
def test_files_that_could_be_misread_are_refused(tmp_path: Path, content: str | bytes, suffix: str, cause: str) -> None:
    path = written(tmp_path, content, suffix)
    with pytest.raises(ConfigError, match=f"(?s){cause}") as caught:
        read_labels(path)
    assert path.name in str(caught.value)  # a long path is shortened in the middle


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*missing.txt.*: No such file"):
        read_labels(tmp_path / "missing.txt")
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        read_labels(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot read .*null byte"):
        read_labels("a\0b")


@pytest.mark.parametrize(
    ("content", "suffix"),
    [("x\n" * 600_000, ""), ("#\n" * 600_000, ""), ("[" + "[]," * 1_100_000 + "[]]", ""), ("a," * 3_000_000, ".csv")],
)
def test_too_many_names_are_refused_before_they_take_memory(tmp_path: Path, content: str, suffix: str) -> None:
    with pytest.raises(ConfigError, match="expected at most 262144 names, got more"):
        read_labels(written(tmp_path, content, suffix))


def test_large_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a label map of at most 4194304 characters, got 4194305"):
        read_labels(written(tmp_path, "#" * 4_194_305, ".pbtxt"))
    path = tmp_path / "labels.txt"
    with path.open("wb") as file:
        file.truncate((1 << 24) + 1)
    with pytest.raises(ConfigError, match="expected at most 16777216 bytes of class names"):
        read_labels(path)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["", ".txt", ".csv", ".tsv", ".json", ".pbtxt"]))
def test_any_bytes_are_names_or_an_error(tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(data)
    try:
        labels = read_labels(path)
    except ConfigError:
        return
    assert labels.names
    assert all(name and name == name.strip() for name in labels.names.values())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("ab\0\t\r\n\x0b\x85\u2028\"',;猫", max_size=6), min_size=1, max_size=4))
def test_json_returns_the_names_that_were_written(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps({str(number): f"<{name}>" for number, name in enumerate(names)}))
    assert read_labels(path).names == {number: f"<{name}>" for number, name in enumerate(names)}


def test_imagenet_comes_with_the_package() -> None:
    labels = read_labels("imagenet")
    labels.check(1000)
    assert [labels.name(number) for number in (0, 1, 134, 517, 638, 639, 281, 207, 999)] == [
        *("tench", "goldfish", "crane", "crane", "maillot", "maillot", "tabby", "golden retriever", "toilet tissue")
    ]
    shifted = read_labels("imagenet", offset=-1)
    shifted.check(1001)
    assert [shifted.name(number) for number in (0, 1, 1000, 1001)] == ["background", "tench", "toilet tissue", None]


def test_imagenet_carries_the_licence_of_wordnet() -> None:
    text = (Path(sys.modules["tfs_client.images"].__file__ or "").parent / "imagenet.txt").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in text
    assert "Permission to use, copy, modify and distribute" in text
    synsets = [line[:9] for line in text.splitlines() if not line.startswith("#")]
    assert synsets == sorted(set(synsets))


def test_a_file_named_imagenet_is_read_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imagenet").write_text("cat\n")
    monkeypatch.chdir(tmp_path)
    assert read_labels("./imagenet").names == {0: "cat"}
    assert read_labels(Path("imagenet")).names == {0: "cat"}


WITH_BACKGROUND = {0: "background", **{number + 1: name for number, name in ANIMALS.items()}}
FROM_ONE = {number + 1: name for number, name in ANIMALS.items()}


@pytest.mark.parametrize(
    ("names", "offset", "classes", "named"),
    [
        (ANIMALS, 0, 3, ["cat", "dog", "fox"]),
        (ANIMALS, -1, 4, ["background", "cat", "dog", "fox"]),
        (WITH_BACKGROUND, 1, 3, ["cat", "dog", "fox"]),
        (WITH_BACKGROUND, 0, 4, ["background", "cat", "dog", "fox"]),
        (FROM_ONE, 1, 3, ["cat", "dog", "fox"]),
        (FROM_ONE, 0, 4, [None, "cat", "dog", "fox"]),
    ],
)
def test_every_class_has_its_name(names: dict[int, str], offset: int, classes: int, named: list[str | None]) -> None:
    labels = Labels(names, offset, numbered=names is FROM_ONE)
    labels.check(classes)
    assert [labels.name(number) for number in range(classes)] == named
    assert labels.name(-1) is None
    assert labels.name(classes) is None


@pytest.mark.parametrize(
    ("labels", "classes", "text"),
    [
        (
            Labels(WITH_BACKGROUND, 0, "a.txt"),
            3,
            "expected 3 class names, as the model has 3 classes, got 4 in 'a.txt': the first label is 'background': if "
            "the model lacks this class, use offset=1 (--labels-offset 1)",
        ),
        (Labels(ANIMALS), 2, "if the model lacks the first label, 'cat', use offset=1 (--labels-offset 1)"),
        (Labels(ANIMALS), 4, "if the model's class 0 is 'background', use offset=-1 (--labels-offset -1)"),
        (
            Labels(ANIMALS),
            1000,
            "expected 1000 class names, as the model has 1000 classes, got 3: are these the names of",
        ),
        (
            Labels(ANIMALS, 1),
            3,
            "expected 4 class names, as the model has 3 classes and the offset is 1, got 3: use offset=0",
        ),
        (Labels(ANIMALS, -1), 3, "use offset=0 (--labels-offset 0)"),
        (
            Labels(FROM_ONE, 0, "b.csv", True),
            3,
            "got 3, numbered 1 to 3 in 'b.csv': if label 1 is the model's class 0, use",
        ),
        (Labels({0: "cat", 2: "fox"}, numbered=True), 3, "number 1 lacks a name"),
        (Labels({5: "cat"}, numbered=True), 6, "got 1, numbered 5 to 5"),
    ],
)
def test_another_number_of_names_is_an_error_with_the_remedy(labels: Labels, classes: int, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        labels.check(classes)
    assert text in str(caught.value)


def test_a_missing_name_is_an_error_with_the_remedy() -> None:
    assert Labels(ANIMALS).required_name(2) == "fox"
    with pytest.raises(
        ConfigError, match=r"class 3, got the names 0 to 2 in 'a.txt': if the model counts its classes from 1"
    ):
        Labels(ANIMALS, source="a.txt").required_name(3)
    with pytest.raises(ConfigError, match="class 9, got the names 0 to 2: are these the names of another model"):
        Labels(ANIMALS).required_name(9)
    for offset, beyond in ((-1, 4), (2, 1)):  # whose remedies would be offsets that nobody can use
        with pytest.raises(
            ConfigError, match=r"got the names 0 to 2: (leave out the offset; or )?are these the names of another model"
        ):
            Labels(ANIMALS, offset).required_name(beyond)


def test_an_offset_without_which_the_name_exists_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        Labels(FROM_ONE, -1, "b.csv", True).required_name(1)
    assert str(caught.value) == (
        "expected a name for class 1, which is label 0 with offset=-1 (--labels-offset -1), got the names 1 to 3 in "
        "'b.csv': leave out the offset; or are these the names of another model?"
    )


def test_a_misspelt_list_is_an_error_that_names_the_built_in_one() -> None:
    with pytest.raises(ConfigError, match=r"cannot read 'imagnet': .*; built-in list: imagenet$"):
        read_labels("imagnet")


def test_names_are_given_by_number() -> None:
    with pytest.raises(ConfigError, match=r"as by dict\(enumerate\(names\)\), got \['cat'\]"):
        Labels(["cat"])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected class names, got none"):
        Labels({})
    for names in ({"0": "cat"}, {-1: "cat"}, {0: 5}, {True: "cat"}, {0.5: "cat"}):
        with pytest.raises(ConfigError, match="expected names by whole numbers from 0, got"):
            Labels(names)  # type: ignore[arg-type]


def test_offsets_skip_labels_or_one_class() -> None:
    with pytest.raises(ConfigError, match="offset of labels of -1 or more, got -2"):
        Labels(ANIMALS, -2)
    for offset in ("1", 1.5, True):
        with pytest.raises(ConfigError, match="offset of labels of -1 or more, got"):
            Labels(ANIMALS, offset)  # type: ignore[arg-type]
