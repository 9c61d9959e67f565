"""Pictures resized by TensorFlow and by Keras, and by ours: the same pixels where the options say so."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tfs_client import TensorSpec
from tfs_client.images import Geometry, plan, prepare, to_array
from tfs_client.images.resizing import placed

pytestmark = pytest.mark.peer

TOLERANCE = 255e-3  # of 0..255
PILLOWS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}
RNG = np.random.default_rng(0)
SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))


def noise(size, channels=3):
    return RNG.integers(0, 256, (size[1], size[0], channels), np.uint8)


def png(pixels, **options):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", **options)
    return data.getvalue()


@pytest.mark.parametrize("size", [(640, 480), (1, 1), (5000, 2), (2, 5000), (224, 224), (3000, 2000), (17, 400)])
@pytest.mark.parametrize("target", [(224, 224), (97, 301), (1, 1)])
def test_tf_bilinear_is_tf_image_resize(tf, size, target):
    pixels = noise(size)
    want = tf.image.resize(pixels, target[::-1], method="bilinear", antialias=False).numpy()
    got = placed(Image.fromarray(pixels), Geometry.of(size, target), "tf-bilinear")
    assert np.abs(got - want.astype(np.float64)).max() <= TOLERANCE


@settings(max_examples=100, deadline=None)
@example((5000, 2), (224, 224))
@given(SIZES, SIZES)
def test_tf_bilinear_is_tf_image_resize_for_any_sizes(tf, size, target):
    pixels = noise(size)
    want = tf.image.resize(pixels, target[::-1], method="bilinear", antialias=False).numpy()
    got = placed(Image.fromarray(pixels), Geometry.of(size, target), "tf-bilinear")
    assert np.abs(got - want.astype(np.float64)).max() <= 1e-3


def test_antialiased_bilinear_is_not_tf_image_resize(tf):
    """The comparison above would notice the wrong method."""
    pixels = noise((640, 480))
    want = tf.image.resize(pixels, (224, 224)).numpy()
    assert np.abs(placed(Image.fromarray(pixels), Geometry.of((640, 480), (224, 224))) - want).max() > 50


@pytest.mark.parametrize("method", PILLOWS)
def test_the_other_methods_are_pillows(tf, method):
    """TensorFlow's nearest, bicubic and area differ from Pillow's, which are the ones that Keras' load_img uses."""
    data = png(noise((333, 250)))
    theirs = "box" if method == "area" else method
    loaded = tf.keras.utils.load_img(io.BytesIO(data), target_size=(224, 150), interpolation=theirs)
    spec = TensorSpec("float32", (None, 224, 150, 3))
    got = prepare(data, spec, scale="raw", resize=method, exif=False, alpha="drop")
    assert np.array_equal(got[0], tf.keras.utils.img_to_array(loaded))


@pytest.fixture(scope="module")
def pictures():
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "plain": png(noise((640, 480))),
        "turned": png(noise((640, 480)), exif=exif),
        "transparent": png(noise((640, 480), 4)),
        "grey": png(noise((640, 480), 1)[..., 0]),
        "grey and alpha": png(noise((640, 480), 2)),
    }


@pytest.mark.parametrize("name", ["plain", "turned", "transparent", "grey", "grey and alpha"])
def test_options_give_what_decode_image_and_tf_image_resize_give(tf, pictures, name):
    decoded = tf.io.decode_image(pictures[name], channels=3, expand_animations=False)
    want = tf.image.resize(decoded, (224, 224)).numpy()
    spec = TensorSpec("float32", (None, 224, 224, 3))
    got = prepare(pictures[name], spec, scale="raw", resize="tf-bilinear", exif=False, alpha="drop")
    assert np.abs(got[0] - want).max() <= TOLERANCE


@pytest.mark.parametrize("name", ["plain", "turned", "transparent", "grey", "grey and alpha"])
def test_options_give_what_load_img_gives(tf, pictures, name):
    loaded = tf.keras.utils.load_img(io.BytesIO(pictures[name]), target_size=(224, 224), interpolation="bilinear")
    spec = TensorSpec("float32", (None, 224, 224, 3))
    got = prepare(pictures[name], spec, scale="raw", exif=False, alpha="drop")
    assert np.array_equal(got[0], tf.keras.utils.img_to_array(loaded))


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_scales_are_those_of_keras_to_the_last_bit(tf, mode):
    from keras.src.applications.imagenet_utils import preprocess_input

    pixels = noise((64, 64))
    want = preprocess_input(pixels.astype(np.float32), data_format="channels_last", mode=mode)
    got = to_array(Image.fromarray(pixels), plan(TensorSpec("float32", (None, 64, 64, 3)), scale=mode))
    assert np.array_equal(got[0], want)
