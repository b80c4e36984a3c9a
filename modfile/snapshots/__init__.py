"""Artifacts laid out as directories that loaders open as they are, their files shared with the local store."""

from .formats import format_of
from .pruning import Removed, prune_snapshots, spared
from .selection import Selection
from .snapshots import Snapshot, Snapshots
from .work import Work

__all__ = ["Removed", "Selection", "Snapshot", "Snapshots", "Work", "format_of", "prune_snapshots", "spared"]
