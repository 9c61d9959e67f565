"""Image files to arrays, as a model's input wants them, and label maps to pictures."""

from tfs_client.images.drawing import label_colours, overlay, save_picture
from tfs_client.images.formats import FORMATS
from tfs_client.images.loading import MAX_PIXELS, Limits, decode, load_image, read_file
from tfs_client.images.tensors import LAYOUTS, SCALES, Preparation, plan, scaled, to_array

__all__ = [
    "FORMATS",
    "LAYOUTS",
    "MAX_PIXELS",
    "SCALES",
    "Limits",
    "Preparation",
    "decode",
    "label_colours",
    "load_image",
    "overlay",
    "plan",
    "read_file",
    "save_picture",
    "scaled",
    "to_array",
]
