"""Presets: names, sizes, and what they do with a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfs_client import ImageError, TensorSpec
from tfs_client.images import FITS, PRESETS, RESIZES, SCALES, plan, to_array
from tfs_client.images.presets import preset_of

ANY = TensorSpec("float32", (None, None, None, 3))
FIXED = TensorSpec("float32", (None, 100, 200, 3))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("resnet50", "resnet50"),
        ("ResNet50V2", "resnet50_v2"),
        ("RESNET50-V2", "resnet50_v2"),
        ("EfficientNetV2B0", "efficientnet_v2_b0"),
        ("InceptionResNetV2", "inception_resnet_v2"),
        ("NASNetLarge", "nasnet_large"),
        ("torchvision-v2", "torchvision_v2"),
    ],
)
def test_case_and_separators_do_not_matter(written: str, name: str) -> None:
    assert preset_of(written) is PRESETS[name]
    assert plan(FIXED, preset=written).preset == name


def test_names_differ_in_more_than_case_and_separators() -> None:
    assert {preset_of(name).name for name in PRESETS} == set(PRESETS)


def test_every_preset_prepares_pictures() -> None:
    image = Image.new("RGB", (32, 24), (255, 0, 0))
    for name, preset in PRESETS.items():
        assert preset.scale in SCALES
        assert preset.resize in RESIZES
        assert preset.fit in FITS
        assert 0 < preset.crop_fraction <= 1
        preparation = plan(FIXED, preset=name, size=(200, 100))
        assert preparation.assumed == ()
        assert (preparation.scale, preparation.resize, preparation.fit) == (preset.scale, preset.resize, preset.fit)
        assert f"preset {name}" in preparation.describe(image.size)
        assert to_array(image, preparation).shape == (1, 100, 200, 3)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("resnet51", "unknown preset 'resnet51': did you mean 'resnet50' or 'resnet"),
        ("mobilenet_v5", "did you mean 'mobilenet_v"),
        ("darknet", "such as resnet50, or torchvision, tfhub or yolov8"),
        ("", "such as resnet50"),
        ("z" * 1_000_000, "such as resnet50"),
    ],
    ids=["near", "version", "far", "empty", "long"],
)
def test_unknown_names_are_refused_with_a_hint(written: str, text: str) -> None:
    with pytest.raises(ImageError) as caught:
        preset_of(written)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["nasnet", "efficientnet", "EfficientNetV2", "tfhub"])
@pytest.mark.parametrize("shape", [(None, None, None, 3), (None, 64, None, 3)], ids=str)
def test_presets_without_a_size_need_one(name: str, shape: tuple[int | None, ...]) -> None:
    spec = TensorSpec("float32", shape)
    with pytest.raises(ImageError, match=r"sets a size: give size \(--size WxH\)"):
        plan(spec, preset=name)
    assert plan(spec, preset=name, size=(48, 64)).size == (48, 64)
    assert plan(TensorSpec("float32", (None, 64, 32, 3)), preset=name).size == (32, 64)


def test_the_signature_has_precedence_over_the_size_of_a_preset() -> None:
    assert plan(ANY, preset="xception").size == (299, 299)
    assert plan(FIXED, preset="xception").size == (200, 100)
    assert plan(TensorSpec("float32", (None, 150, None, 3)), preset="xception").size == (299, 150)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_options_that_contradict_a_preset_are_refused(name: str) -> None:
    other = next(scale for scale in SCALES if scale != PRESETS[name].scale)
    for options in ({"scale": other}, {"mean": 0.5}, {"std": (1, 2, 3)}):
        with pytest.raises(ImageError, match=f"contradicts preset='{name}'"):
            plan(FIXED, preset=name, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "size", "resized", "offset"),
    [  # the shorter side, then the middle
        ("torchvision", 224, (341, 256), (-58, -16)),
        ("torchvision_v2", 224, (309, 232), (-42, -4)),
        ("torchvision_inception_v3", 299, (456, 342), (-78, -22)),
        ("torchvision_efficientnet_b1", 240, (341, 256), (-50, -8)),
        ("torchvision_efficientnet_b3", 300, (426, 320), (-63, -10)),
        ("torchvision_efficientnet_b5", 456, (608, 456), (-76, 0)),
        ("torchvision_vit_l_16", 224, (322, 242), (-49, -9)),
        ("torchvision_swin_s", 224, (328, 246), (-52, -11)),
    ],
)
def test_torchvision_crops_the_middle(name: str, size: int, resized: tuple[int, int], offset: tuple[int, int]) -> None:
    geometry = plan(TensorSpec("float32", None), preset=name).geometry((640, 480))
    assert geometry.target == (size, size)
    assert geometry.resized == resized
    assert geometry.offset == offset


def test_torchvision_sends_channels_first_where_the_signature_allows_both() -> None:
    assert plan(TensorSpec("float32", None), preset="torchvision").layout == "nchw"
    assert plan(FIXED, preset="torchvision").layout == "nhwc"


def test_torchvision_computes_what_its_transforms_do() -> None:
    """Resize the shorter side, crop the middle, 0..1, less the means, divided by the deviations."""
    image = Image.effect_noise((640, 480), 60).convert("RGB")
    resized = image.resize((341, 256), Image.Resampling.BILINEAR).crop((58, 16, 282, 240))
    wanted = (np.asarray(resized) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    found = to_array(image, plan(TensorSpec("float32", (None, 3, None, None)), preset="torchvision"))
    assert found.shape == (1, 3, 224, 224)
    assert np.abs(found[0].transpose(1, 2, 0) - wanted).max() < 1e-5


def test_presets_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PRESETS["mine"] = PRESETS["resnet50"]  # type: ignore[index]


def test_the_table_in_the_docs_has_every_preset() -> None:
    page = (Path(__file__).parents[2] / "docs" / "images.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    documented = {name.strip("`"): cells for names, *cells in rows if len(cells) == 4 for name in names.split(", ")}
    expected = {}
    for name, preset in PRESETS.items():
        size = f"{preset.size[0]}x{preset.size[1]}" if preset.size else "the signature's"
        fit = preset.fit
        if preset.size and fit == "crop":
            fit = f"crop of {round(preset.size[0] / preset.crop_fraction)}"
        if fit == "pad":
            fit = f"pad, value {preset.pad_value}"
        expected[name] = [size, preset.scale, preset.resize, fit]
    assert documented == expected
