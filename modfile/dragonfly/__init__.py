"""Dragonfly: blobs over a peer-to-peer network, from its daemon on this machine, instead of from the registry."""

from .source import BlobRepository, DragonflySource, remove_leftovers

__all__ = ["BlobRepository", "DragonflySource", "remove_leftovers"]
