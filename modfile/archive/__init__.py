"""Layers that are tar archives, plain or compressed: read entry by entry, never unpacked by anyone else's hand."""

from .decompression import COMPRESSIONS, MAX_FRAMES, decompressed
from .tar import MAX_EXTENSION, MAX_MEMBERS, OVERHEAD, Member, walk

__all__ = ["COMPRESSIONS", "MAX_EXTENSION", "MAX_FRAMES", "MAX_MEMBERS", "OVERHEAD", "Member", "decompressed", "walk"]
