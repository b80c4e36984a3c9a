"""The local store: an OCI image layout on disk (OCI image specification, `image-layout.md`)."""

from .catalog import Catalog
from .directory import existing_layout, new_layout
from .index import Entry
from .layout import Layout
from .targets import DirectoryTarget, StoreTarget

__all__ = [
    "Catalog",
    "DirectoryTarget",
    "Entry",
    "Layout",
    "StoreTarget",
    "existing_layout",
    "new_layout",
]
