"""The layers of an artifact that is built on another: the base's as they are, and files in place of some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..content import Descriptor, Digest
from ..images import check_paths
from ..kind import Kind
from ..listing import listing_of
from ..modelpack import Layer
from ..paths import check_plan
from ..progress import Outcome
from ..workers import StoppableMeter, run_all
from .copy import Tally, label
from .repacking import PackedLayer, moved

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from threading import Event

    from ..base import Base
    from ..layermaker import LayerMaker, Made
    from ..progress import Progress
    from ..store import Source, Store

_ORDER = {kind: at for at, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Derived:
    """The layers of a child in their order, the digests of their uncompressed content, and which are the base's.

    `repacked` are those made of the base's.
    """

    layers: tuple[Descriptor, ...]
    diff_ids: tuple[Digest, ...]
    inherited: tuple[Descriptor, ...]
    repacked: tuple[Made, ...] = ()


def derive(base: Base, own: Sequence[Made], paths: Collection[str], maker: LayerMaker, progress: Progress) -> Derived:
    """Put a child's layers together: the base's, but for files of the child's `paths`, and the child's own.

    A layer of several files that has one of them is packed again without it, and one that cannot stand beside the
    maker's as one that can; for that it is read, as is one that does not list its files.

    Raises:
        ContentError: the paths of all files cannot be there together, or a layer is not what it should be.
        NotFoundError: a layer has to be read, and is nowhere.
    """
    placed = [(_place(Layer.parse(made.layer)), made.layer, made.diff_id) for made in own]
    inherited: list[Descriptor] = []
    repacked: list[Made] = []
    inside = list(paths)
    for layer, diff_id in zip(base.layers, map(Digest.parse, base.diff_ids), strict=True):
        if not layer.is_packed or layer.metadata is not None:
            if layer.path in paths:
                continue
            inside += [layer.path] if layer.path is not None else []
        packed = None if not layer.is_packed or _stays(layer, maker) else PackedLayer(layer, base.source)
        gone = packed.files.keys() & set(paths) if packed else set()
        if packed and layer.metadata is None:
            inside += packed.files.keys() - set(paths)
        if gone or not maker.takes(layer):
            meter = progress.start(label(layer.content), layer.content.size)
            made = packed.without(gone, maker, meter) if packed else moved(layer, base.source, maker, meter)
            if made:
                placed.append((_place(layer), made.layer, made.diff_id))
                repacked.append(made)
            continue
        inherited.append(layer.content)
        placed.append((_place(layer), layer.content, diff_id))
    check_plan(inside)
    if maker.prefix:
        check_paths(inside, maker.prefix)
    placed.sort(key=lambda one: one[0])
    layers, diff_ids = tuple(one[1] for one in placed), tuple(one[2] for one in placed)
    return Derived(layers, diff_ids, tuple(inherited), tuple(repacked))


def bring(layers: Sequence[Descriptor], source: Source, target: Store, progress: Progress, concurrency: int) -> Tally:
    """Let a store have the layers of a base: there, mounted, or read where the base is.

    Raises:
        NotFoundError: a layer is nowhere.
        RegistryError, AccessDeniedError: a registry failed, or refused.
    """
    tally = Tally()
    unique = sorted({layer.digest: layer for layer in layers}.values(), key=lambda layer: -layer.size)

    def bring_one(layer: Descriptor, stop: Event) -> tuple[Outcome, int]:
        meter = StoppableMeter(progress.start(label(layer), layer.size), stop)
        outcome = Outcome.SKIPPED if target.exists(layer) else target.put(layer, source, meter)
        meter.finish(outcome)
        return outcome, meter.resumed

    for layer, (outcome, resumed) in zip(unique, run_all(unique, bring_one, concurrency), strict=True):
        tally.add(layer.digest, layer.size, outcome, resumed)
    return tally


def _stays(layer: Layer, maker: LayerMaker) -> bool:
    """Tell whether a layer in a tar is inherited without a look at its files: it is one, which no file replaces."""
    return layer.metadata is not None and maker.takes(layer)


def _place(layer: Layer) -> tuple[int, str]:
    """Return where a layer stands among others: by kind, then by path; one of several files by the first of them."""
    files = None if layer.path is not None else listing_of(layer)
    return _ORDER[layer.kind], layer.path or (files[0].path if files else "")
