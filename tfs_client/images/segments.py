"""Segmentation: a label for each pixel of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfs_client._codec.dtypes import Array
from tfs_client.errors import ImageError
from tfs_client.images.geometry import Geometry, Size
from tfs_client.images.masks import labels_at


@dataclass(frozen=True)
class Share:
    """The part of a picture that a label covers.

    Attributes:
        label: its name, "label 7" without one.
        share: from 0 to 1.
        number: the label in the map.
    """

    label: str
    share: float
    number: int


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A label for each pixel of a picture.

    Attributes:
        map: integers (height, width), as the model returned them: a map of the tensor that was sent, with the border of
            a padded picture.
        shares: the labels by the part of the picture that they cover, largest first; only what the model has seen of
            the picture counts.
        geometry: where the picture lies in the tensor.
        output: the alias of the output.
    """

    map: Array
    shares: Sequence[Share]
    geometry: Geometry
    output: str

    @property
    def size(self) -> Size:
        """Width and height of the picture, turned upright."""
        return self.geometry.source

    @property
    def picture_map(self) -> Array:
        """The map in pixels of the picture, integers (height, width); -1 where the picture was cropped away.

        It takes 2 bytes per pixel of the picture, more for labels above 32767, and is made anew each time. Raises
        ImageError if memory runs out.
        """
        rows, columns = self.geometry.cells((self.map.shape[0], self.map.shape[1]))
        try:
            return labels_at(self.map, rows, columns)
        except MemoryError as error:
            raise ImageError(f"not enough memory for {self.size[0]} x {self.size[1]} labels") from error
