"""Layers that are tar archives, plain or compressed: written alike anywhere, read entry by entry by our own walk."""

from .compression import compressed, most_compressed
from .decompression import COMPRESSIONS, MAX_FRAMES, decompressed
from .tar import MAX_EXTENSION, MAX_MEMBERS, OVERHEAD, Member, walk
from .writer import Archive, Entry, PieceReader

__all__ = [
    "COMPRESSIONS",
    "MAX_EXTENSION",
    "MAX_FRAMES",
    "MAX_MEMBERS",
    "OVERHEAD",
    "Archive",
    "Entry",
    "Member",
    "PieceReader",
    "compressed",
    "decompressed",
    "most_compressed",
    "walk",
]
