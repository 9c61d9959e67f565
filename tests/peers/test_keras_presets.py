"""With a preset, a model receives what Keras would feed it: load_img, then preprocess_input."""

from __future__ import annotations

import inspect
import io
import threading

import numpy as np
import pytest
from peers.exported import quiet
from PIL import Image, ImageDraw

from tfs_client import ImageError, TensorSpec
from tfs_client.cli.predict import command
from tfs_client.images import load_image, plan, to_array
from tfs_client.images.presets import preset_of
from tfs_client.images.scaling import scaled
from tfs_client.testing import FakeServer

pytestmark = pytest.mark.peer

CLOSE = 1e-3 * 255  # in units of the pixel
ANY = TensorSpec("float32", (None, None, None, 3))
LOGITS_CLOSE = 1e-4  # of the largest logit
CLASSES = 50
# Pixels per unit of the tensor.
UNITS = {"raw": 1.0, "caffe": 1.0, "tf": 127.5, "torch": 255 * np.array([0.229, 0.224, 0.225])}
# Names of keras.applications that are not networks, or modules without one: the mode is an argument there.
GENERIC = "imagenet_utils"

NETWORKS = (  # the network, its preset, and a wrong one
    ("MobileNet", "mobilenet", "densenet"),
    ("MobileNetV2", "mobilenet_v2", "mobilenet_v3"),
    ("MobileNetV3Small", "MobileNetV3Small", "mobilenet_v2"),
    ("NASNetMobile", "nasnet_mobile", "resnet50"),
    ("DenseNet121", "densenet121", "vgg16"),
    ("ResNet50", "resnet50", "resnet50_v2"),
    ("ResNet50V2", "ResNet50V2", "resnet50"),
    ("InceptionV3", "inception-v3", "torchvision_inception_v3"),
    ("EfficientNetB0", "efficientnet_b0", "mobilenet"),
    ("EfficientNetV2B0", "efficientnet_v2_b0", "convnext --resize nearest"),
)


def scene(width: int, height: int) -> Image.Image:
    """A picture with edges, gradients and noise."""
    ground = np.add.outer(np.linspace(0, 120, height), np.linspace(0, 100, width))[..., None]
    ground = ground * (1.0, 0.7, 0.4) + np.random.default_rng(width).normal(0, 9, (height, width, 3))
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 5, height // 4, width // 2, height // 2), fill=(240, 20, 60))
    draw.ellipse((width // 2, height // 3, width - 1, height - 1), fill=(10, 90, 230))
    return image


def pictures() -> dict[str, bytes]:
    """Odd pictures as files, by name."""
    found: dict[str, bytes] = {}

    def add(name: str, image: Image.Image, kind: str, **options: object) -> None:
        data = io.BytesIO()
        image.save(data, kind, **options)
        found[name] = data.getvalue()

    rgb = scene(320, 240)
    grey = rgb.convert("L")
    alpha = Image.linear_gradient("L").resize(rgb.size)
    add("plain.png", rgb, "PNG")
    add("photo.jpg", rgb, "JPEG", quality=90)
    add("progressive.jpg", rgb, "JPEG", progressive=True, subsampling=0)
    add("large.jpg", scene(2400, 1800), "JPEG", quality=85)
    add("grey.png", grey, "PNG")
    add("grey.jpg", grey, "JPEG")
    add("bits.png", rgb.convert("1"), "PNG")
    add("bits.tiff", rgb.convert("1"), "TIFF", compression="group4")
    add("palette.png", rgb.quantize(64), "PNG")
    add("palette-clear.png", rgb.quantize(64), "PNG", transparency=3)
    add("palette-alpha.png", rgb.quantize(64), "PNG", transparency=bytes(range(0, 256, 4)))
    add("clear.png", rgb, "PNG", transparency=(240, 20, 60))
    add("grey-alpha.png", Image.merge("LA", (grey, alpha)), "PNG")
    add("alpha.png", Image.merge("RGBA", (*rgb.split(), alpha)), "PNG")
    add("alpha.webp", Image.merge("RGBA", (*rgb.split(), alpha)), "WEBP", lossless=True, exact=True)
    add("lossy.webp", rgb, "WEBP", quality=70)
    add("still.gif", rgb.quantize(32), "GIF")
    add("moving.gif", rgb.quantize(32), "GIF", save_all=True, append_images=[rgb.rotate(90).quantize(32)])
    add("cmyk.jpg", rgb.convert("CMYK"), "JPEG")
    add("cmyk.tiff", rgb.convert("CMYK"), "TIFF")
    add("packed.tiff", rgb, "TIFF", compression="tiff_lzw")
    add("plain.bmp", rgb, "BMP")
    add("plain.ppm", rgb, "PPM")
    add("one.png", Image.new("RGB", (1, 1), (200, 30, 20)), "PNG")
    add("wide.png", scene(5000, 2), "PNG")
    add("tall.jpg", scene(2, 5000), "JPEG")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        add(f"exif{orientation}.jpg", scene(90, 60), "JPEG", exif=exif)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of odd pictures."""
    path = tmp_path_factory.mktemp("pictures")
    for name, data in pictures().items():
        (path / name).write_bytes(data)
    return path


@pytest.fixture(scope="session")
def keras(tf):
    """Keras, with the backend TensorFlow."""
    with quiet():
        import keras
    return keras


def module_of(keras, network):
    """The module of keras.applications that has the network's preprocess_input."""
    name = inspect.getmodule(network).__name__.rpartition(".")[2]
    return getattr(keras.applications, name)


def expected(keras, path, size, preprocess_input):
    """What Keras feeds a network: (height, width, 3) float32."""
    with quiet():
        image = keras.utils.load_img(path, target_size=size[::-1], interpolation="bilinear")
    return preprocess_input(keras.utils.img_to_array(image))


class Recorder:
    """A model that records its tensors and runs a network, if it has one, on them."""

    def __init__(self, network=None) -> None:
        self.network = network
        self.tensors: list[np.ndarray] = []
        self._lock = threading.Lock()

    def __call__(self, x):
        with self._lock:
            first = len(self.tensors)
            self.tensors += list(x)
        logits = np.zeros((len(x), CLASSES), np.float32) if self.network is None else self.network(x).numpy()
        return {"logits": logits, "place": np.arange(first, first + len(x))}


def predicted(model, arguments, paths, tmp_path):
    """Run tfs-predict on pictures: the tensor that the model received and its logits, by path."""
    output = tmp_path / "rows.npz"
    with FakeServer() as server:
        server.add_model(
            "network",
            model,
            inputs={"x": ANY},
            outputs={
                "logits": TensorSpec("float32", (None, CLASSES)),
                "place": TensorSpec("int64", (None,)),
            },
        )
        fixed = ["--server", server.target, "--model", "network", "--exif", "off", "--alpha", "drop"]
        code = command.main([*fixed, *arguments, "--image", *paths, "--output", str(output), "--overwrite", "--quiet"])
        assert code == 0
    with np.load(output) as rows:
        places, names, logits = rows["place"], rows["names"], rows["logits"]
    tensors = {str(name): model.tensors[place] for name, place in zip(names, places, strict=True)}
    assert tensors.keys() == set(paths)
    return tensors, dict(zip(map(str, names), logits, strict=True))


def check_tensors(found, wanted, scale):
    for path, tensor in wanted.items():
        assert found[path].shape == tensor.shape, path
        error = float((np.abs(found[path] - tensor) * UNITS[scale]).max())
        assert error <= CLOSE, f"{path}: {error} levels"


def check_logits(found, wanted):
    for path, logits in wanted.items():
        error = float(np.abs(found[path] - logits).max() / np.abs(logits).max())
        assert error <= LOGITS_CLOSE, f"{path}: {error}"


@pytest.mark.parametrize(("name", "preset", "wrong"), NETWORKS, ids=lambda value: str(value).replace(" ", ""))
def test_networks_receive_the_tensors_of_keras(name, preset, wrong, keras, folder, tmp_path):
    keras.utils.set_random_seed(7)
    network = getattr(keras.applications, name)(weights=None, classes=CLASSES, classifier_activation=None)
    size = size_of(network)
    preprocess_input = module_of(keras, getattr(keras.applications, name)).preprocess_input
    paths = [str(path) for path in sorted(folder.iterdir())]
    tensors = {path: expected(keras, path, size, preprocess_input) for path in paths}
    logits = dict(zip(paths, network(np.stack(list(tensors.values()))).numpy(), strict=True))
    scale = preset_of(preset).scale

    found, answers = predicted(Recorder(network), ["--preset", preset], paths, tmp_path)
    check_tensors(found, tensors, scale)
    check_logits(answers, logits)

    some = [path for path in paths if path.endswith(("plain.png", "photo.jpg"))]
    found, answers = predicted(Recorder(network), ["--preset", *wrong.split()], some, tmp_path)
    for path in some:
        with pytest.raises(AssertionError, match="levels"):
            check_tensors(found, {path: tensors[path]}, scale)
        with pytest.raises(AssertionError):
            check_logits(answers, {path: logits[path]})


def test_a_single_picture_is_prepared_as_in_bulk(keras, folder, capsys):
    module = keras.applications.mobilenet
    model = Recorder()
    with FakeServer() as server:
        server.add_model(
            "network",
            lambda x: model(x)["logits"],
            inputs={"x": ANY},
            outputs={"logits": TensorSpec("float32", (None, CLASSES))},
        )
        for path in sorted(folder.iterdir()):
            arguments = ["--server", server.target, "--model", "network", "--preset", "mobilenet"]
            assert command.main([*arguments, "--exif", "off", "--alpha", "drop", "--image", str(path)]) == 0
            wanted = {"it": expected(keras, path, (224, 224), module.preprocess_input)}
            check_tensors({"it": model.tensors.pop()}, wanted, "tf")
    assert "preset mobilenet" in capsys.readouterr().out


def test_the_defaults_differ_from_keras_only_where_the_documentation_says_so(keras, folder, tmp_path):
    """Upright by EXIF; white behind transparent parts; and 16-bit grey, which no option changes, is scaled."""
    deep = tmp_path / "deep.png"
    Image.fromarray(np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)).save(deep)
    preparation = plan(ANY, preset="resnet50")
    differing = set()
    for path in [*folder.iterdir(), deep]:
        found = to_array(load_image(path), preparation)[0]
        wanted = expected(keras, path, (224, 224), keras.applications.resnet50.preprocess_input)
        if np.abs(found - wanted).max() > CLOSE:
            differing.add(path.name)
    clear = {"alpha.png", "alpha.webp", "clear.png", "grey-alpha.png", "palette-alpha.png", "palette-clear.png"}
    assert differing == clear | {f"exif{turned}.jpg" for turned in range(2, 9)} | {"deep.png"}


def networks(keras):
    """The networks of keras.applications, by name."""
    return {name: found for name, found in vars(keras.applications).items() if inspect.isfunction(found)}


def modules(keras):
    """The modules of keras.applications that prepare pictures, by name, without the one for networks of any kind."""
    return {
        name: found
        for name, found in vars(keras.applications).items()
        if inspect.ismodule(found) and hasattr(found, "preprocess_input") and name != GENERIC
    }


class SizeFoundError(Exception):
    """Ends the construction of a network once its default size is known."""


def default_size(keras, network, monkeypatch):
    """Width and height of a network without arguments, which is not built if that can be avoided."""
    from keras.src.applications import imagenet_utils

    def found(input_shape, default_size, **options):
        raise SizeFoundError(default_size)

    with monkeypatch.context() as patch:
        patch.setattr(imagenet_utils, "obtain_input_shape", found)
        try:
            return size_of(network(weights=None))
        except SizeFoundError as error:
            return error.args * 2


def size_of(network):
    """Width and height of a built network. MobileNetV3 accepts any, and was trained with 224."""
    size = network.input_shape[2:0:-1]
    return (224, 224) if size == (None, None) and network.name.startswith("MobileNetV3") else size


def test_every_network_has_a_preset_of_its_size(keras, monkeypatch):
    found = networks(keras)
    assert len(found) >= 40
    sizes = {name: default_size(keras, network, monkeypatch) for name, network in found.items()}
    assert {name: preset_of(name).size for name in found} == sizes


def test_every_preset_computes_what_preprocess_input_does(keras):
    owners = modules(keras) | {name: module_of(keras, network) for name, network in networks(keras).items()}
    pixels = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
    for name, module in owners.items():
        scale = preset_of(name).scale
        wanted = module.preprocess_input(pixels.astype(np.float32))
        found = scaled(pixels, plan(ANY, preset=name, size=(32, 32)))
        assert (np.abs(found - wanted) * UNITS[scale]).max() < CLOSE, name
        others = [scaled(pixels, plan(ANY, scale=other)) for other in UNITS if other != scale]
        assert all(np.abs(other - wanted).max() > 0.1 for other in others), name
    assert {"caffe", "tf", "torch", "raw"} == {preset_of(name).scale for name in owners}


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_scales_are_the_modes_of_keras(mode, keras):
    pixels = np.random.default_rng(4).integers(0, 256, (9, 7, 3), np.uint8)
    wanted = keras.applications.imagenet_utils.preprocess_input(pixels.astype(np.float32), mode=mode)
    found = scaled(pixels, plan(ANY, scale=mode))
    assert (np.abs(found - wanted) * UNITS[mode]).max() < CLOSE


def test_modules_whose_networks_differ_in_size_leave_it_to_the_signature(keras, monkeypatch):
    for name, module in modules(keras).items():
        members = [network for network in networks(keras).values() if module_of(keras, network) is module]
        sizes = {default_size(keras, network, monkeypatch) for network in members}
        if len(sizes) > 1:
            assert preset_of(name).size is None, name
            with pytest.raises(ImageError, match="give size"):
                plan(ANY, preset=name)
            assert plan(TensorSpec("float32", (None, 64, 48, 3)), preset=name).size == (48, 64)
        elif sizes:
            assert {preset_of(name).size} == sizes, name


@pytest.mark.parametrize("source", [(640, 480), (100, 300), (7, 5), (1, 1), (5000, 2)], ids=str)
def test_tfhub_resizes_like_tensorflow(source, tf):
    image = scene(*source)
    preparation = plan(TensorSpec("float32", (None, 224, 160, 3)), preset="tfhub")
    wanted = tf.image.resize(np.asarray(image, np.float32) / 255, (224, 160)).numpy()
    assert np.abs(to_array(image, preparation)[0] - wanted).max() < 1e-3


def test_yolov8_is_a_letterbox_resized_like_tensorflow(tf):
    image = scene(320, 200)
    preparation = plan(ANY, preset="yolov8")
    wanted = np.full((640, 640, 3), 114 / 255, np.float32)
    wanted[120:520] = tf.image.resize(np.asarray(image, np.float32) / 255, (400, 640)).numpy()
    assert np.abs(to_array(image, preparation)[0] - wanted).max() < 1e-3
