"""Makers of container images as other tools write them, and what unpacks an image to be looked at."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

from modfile.content import Descriptor, Digest
from modfile.layout import Layout
from modfile.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from modfile.reference import Reference

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"
DOCKER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

SHELL = b"#!/bin/true\n"


def entry(name, data=b"", kind=tarfile.REGTYPE, mode=0o644, link=""):
    """Return an entry for `tar_of`."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, link
    info.size = len(data)
    return info, data


def directory(name):
    return entry(name, kind=tarfile.DIRTYPE, mode=0o755)


def tar_of(*entries):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def shell_layer():
    """Return a layer with all that a system has and no model may: links, devices, other owners."""
    return tar_of(
        directory("bin"),
        entry("bin/busybox", SHELL, mode=0o4755),
        entry("bin/sh", kind=tarfile.SYMTYPE, link="busybox"),
        entry("bin/ls", kind=tarfile.LNKTYPE, link="bin/busybox"),
        directory("etc"),
        entry("etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
        entry("dev/pipe", kind=tarfile.FIFOTYPE),
    )


class ImageMaker:
    """An image of one platform in the making: layers, then `write`."""

    def __init__(self, layout, *, docker=False):
        self.layout = layout
        self.docker = docker
        self.layers = []
        self.diff_ids = []

    def add(self, tar, compression=""):
        data = gzip.compress(tar, mtime=0) if compression == "gzip" or self.docker else tar
        media_type = DOCKER_GZIP if self.docker else TAR + (f"+{compression}" if compression else "")
        content = self.layout.add_bytes(data, media_type)
        self.layers.append(content)
        self.diff_ids.append(str(Digest.of(tar)))
        return self

    def write(self, platform="linux/amd64", inner=None, reference=None, **config):
        """Write config and manifest; return the manifest's descriptor as an index has it."""
        parts = platform.split("/")
        said = dict(zip(("os", "architecture", "variant"), parts, strict=False))
        value = {
            **said,
            "config": inner or {},
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
            **config,
        }
        config_type = DOCKER_CONFIG if self.docker else OCI_CONFIG
        media_type = DOCKER_MANIFEST if self.docker else OCI_MANIFEST
        described = self.layout.add_bytes(json.dumps(value).encode(), config_type)
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": described.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        content = self.layout.add_bytes(json.dumps(manifest).encode(), media_type)
        if reference:
            self.layout.tag(content, Reference.parse(reference))
        return content.to_json() | {"platform": said}


def index(layout, reference, *entries, docker=False):
    """Write an index of manifests, and name it."""
    media_type = DOCKER_LIST if docker else OCI_INDEX
    value = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(entries)}
    content = layout.add_bytes(json.dumps(value).encode(), media_type)
    layout.tag(content, Reference.parse(reference))
    return content


def shell_image(layout, reference, platforms=("linux/amd64", "linux/arm64/v8"), *, docker=False):
    """Write an image with a shell, for several platforms, as docker or buildah do."""
    entries = []
    for platform in platforms:
        maker = ImageMaker(layout, docker=docker).add(shell_layer(), "gzip")
        maker.add(tar_of(entry("etc/platform", platform.encode())), "gzip")
        inner = {
            "Env": ["PATH=/bin"],
            "Entrypoint": ["/bin/sh"],
            "User": "1010",
            "Labels": {"org.opencontainers.image.title": "shell", "maintainer": "somebody"},
        }
        history = [{"created_by": "ADD shell"}, {"created_by": "ENV", "empty_layer": True}, {"created_by": "ADD etc"}]
        entries.append(maker.write(platform, inner, history=history))
    return index(layout, reference, *entries, docker=docker)


def read_json(layout, descriptor):
    """Return a document of a layout by its descriptor as JSON has it, or as ours."""
    digest = descriptor.digest if isinstance(descriptor, Descriptor) else Digest.parse(descriptor["digest"])
    return json.loads(layout.blob_path(digest).read_bytes())


def unpacked(layout: Layout | Path, name, directory, architecture=None):
    """Let umoci unpack an image of a layout, brought by skopeo; return what is in it, by path: mode, and bytes."""
    root = layout.root if isinstance(layout, Layout) else layout
    override = ["--override-arch", architecture] if architecture else []
    copy = directory / "copy"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    run("skopeo", *override, "copy", "-q", f"oci:{root}:{name}" if isinstance(root, Path) else name, f"oci:{copy}:t")
    return unpacked_layout(copy, directory)


def unpacked_layout(copy, directory):
    run("umoci", "unpack", "--rootless", "--image", f"{copy}:t", str(directory / "bundle"))
    rootfs = directory / "bundle/rootfs"
    found = {}
    for path in sorted(rootfs.rglob("*")):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        name = path.relative_to(rootfs).as_posix()
        if stat.S_ISREG(status.st_mode):
            found[name] = (mode, path.read_bytes())
        elif stat.S_ISDIR(status.st_mode):
            found[name + "/"] = (mode, None)
        else:
            found[name] = (None, None)
    return found


def run(*argv):
    done = subprocess.run([str(one) for one in argv], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
