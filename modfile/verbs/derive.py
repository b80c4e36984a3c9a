"""The layers of an artifact that is built on another: the base's as they are, and files in place of some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..content import Descriptor, Digest
from ..kind import Kind
from ..listing import listing_of
from ..modelpack import Layer
from ..paths import check_plan
from ..progress import Outcome
from ..workers import StoppableMeter, run_all
from .copy import Tally, label
from .repacking import PackedLayer

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from threading import Event

    from ..base import Base
    from ..layermaker import LayerMaker, Made
    from ..progress import Progress
    from ..store import Store

_ORDER = {kind: at for at, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Derived:
    """The layers of a child in their order, the digests of their uncompressed content, and which are the base's."""

    layers: tuple[Descriptor, ...]
    diff_ids: tuple[Digest, ...]
    inherited: tuple[Descriptor, ...]


def derive(base: Base, own: Sequence[Made], paths: Collection[str], maker: LayerMaker, progress: Progress) -> Derived:
    """Put a child's layers together: the base's, but for files of the child's `paths`, and the child's own.

    A layer of several files that has one of them is packed again without it; for that it is read, as is one that does
    not list its files.

    Raises:
        ContentError: the paths of all files cannot be there together, or a layer is not what it should be.
        NotFoundError: a layer has to be read, and is nowhere.
    """
    placed = [(_place(Layer.parse(made.layer)), made.layer, made.diff_id) for made in own]
    inherited: list[Descriptor] = []
    inside = list(paths)
    for layer, diff_id in zip(base.layers, map(Digest.parse, base.diff_ids), strict=True):
        if not layer.is_packed or layer.metadata is not None:
            if layer.path in paths:
                continue
            inside += [layer.path] if layer.path is not None else []
        else:
            packed = PackedLayer(layer, base.source)
            inside += packed.files.keys() - set(paths)
            if gone := packed.files.keys() & set(paths):
                meter = progress.start(label(layer.content), layer.content.size)
                if made := packed.without(gone, maker, meter):
                    placed.append((_place(layer), made.layer, made.diff_id))
                continue
        inherited.append(layer.content)
        placed.append((_place(layer), layer.content, diff_id))
    check_plan(inside)
    placed.sort(key=lambda one: one[0])
    return Derived(tuple(one[1] for one in placed), tuple(one[2] for one in placed), tuple(inherited))


def bring(layers: Sequence[Descriptor], base: Base, target: Store, progress: Progress, concurrency: int) -> Tally:
    """Let a registry have the layers that a child inherits: there, mounted, or read where the base is.

    Raises:
        NotFoundError: a layer is nowhere.
        RegistryError, AccessDeniedError: a registry failed, or refused.
    """
    tally = Tally()
    unique = sorted({layer.digest: layer for layer in layers}.values(), key=lambda layer: -layer.size)

    def bring_one(layer: Descriptor, stop: Event) -> tuple[Outcome, int]:
        meter = StoppableMeter(progress.start(label(layer), layer.size), stop)
        outcome = Outcome.SKIPPED if target.exists(layer) else target.put(layer, base.source, meter)
        meter.finish(outcome)
        return outcome, meter.resumed

    for layer, (outcome, resumed) in zip(unique, run_all(unique, bring_one, concurrency), strict=True):
        tally.add(layer.digest, layer.size, outcome, resumed)
    return tally


def _place(layer: Layer) -> tuple[int, str]:
    """Return where a layer stands among others: by kind, then by path; one of several files by the first of them."""
    files = None if layer.path is not None else listing_of(layer)
    return _ORDER[layer.kind], layer.path or (files[0].path if files else "")
