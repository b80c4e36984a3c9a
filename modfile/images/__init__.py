"""Container images that hold a model: made of tar layers, and read, whoever made them (OCI image specification).

Where the layers come from is of no matter here: what is made follows from descriptors and digests alone.
"""

from .base import ImageBase
from .image import Image, ModelLayer, compose
from .index import manifest_of, manifests_of
from .layers import CONFIG_TYPES, DEFAULT_PREFIX, check_paths, facts_of, is_image, layers_of, parse_prefix
from .platforms import DEFAULT_PLATFORMS, Platform

__all__ = [
    "CONFIG_TYPES",
    "DEFAULT_PLATFORMS",
    "DEFAULT_PREFIX",
    "Image",
    "ImageBase",
    "ModelLayer",
    "Platform",
    "check_paths",
    "compose",
    "facts_of",
    "is_image",
    "layers_of",
    "manifest_of",
    "manifests_of",
    "parse_prefix",
]
