"""Datasets, their manifests, and the one pixel codec."""

from safari_bench.data.codec import encode_png, from_uint8, open_raster, read_image, to_uint8
from safari_bench.data.collections import Ffhq, ImageNet
from safari_bench.data.contract import DataError, Dataset, Record, TooFew, digest
from safari_bench.data.folder import Folder
from safari_bench.data.leaves import Leaves, leaf_generator, leaf_picture
from safari_bench.data.listing import safe_name
from safari_bench.data.manifest import Manifest, manifest_csv
from safari_bench.data.opened import Opened, open_picture
from safari_bench.data.photographs import Photographs
from safari_bench.data.photos import Photos
from safari_bench.data.pictures import Pictures
from safari_bench.data.pip_photographs import textures, whole_photographs

__all__ = [
    "DataError",
    "Dataset",
    "Ffhq",
    "Folder",
    "ImageNet",
    "Leaves",
    "Manifest",
    "Opened",
    "Photographs",
    "Photos",
    "Pictures",
    "Record",
    "TooFew",
    "digest",
    "encode_png",
    "from_uint8",
    "leaf_generator",
    "leaf_picture",
    "manifest_csv",
    "open_picture",
    "open_raster",
    "read_image",
    "safe_name",
    "textures",
    "to_uint8",
    "whole_photographs",
]
