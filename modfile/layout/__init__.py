"""The local store: an OCI image layout on disk (OCI image specification, `image-layout.md`)."""

from .index import Entry
from .layout import Layout

__all__ = ["Entry", "Layout"]
