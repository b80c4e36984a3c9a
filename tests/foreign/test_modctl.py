"""Tars as modctl writes them: a file a layer, with the owner's names, its time, and the path from the model's root."""

import hashlib
import io
import json
import tarfile

import pytest

from modfile.layout import Layout
from modfile.reference import Reference
from modfile.verbs.extract import extract
from modfile.verbs.verify import verify_directory
from tests.foreign.artifacts import Artifact

REF = Reference.parse("r.io/llm/tiny:v1")
FILES = {"config.json": b"{}", "weights/model-00001.safetensors": b"w" * 70_000, "a" * 120 + ".md": b"# long"}


def modctl_tar(path, data):
    """Write what Go's `tar.FileInfoHeader` and `tar.Writer` give: ustar where it fits, else pax; whole seconds."""
    info = tarfile.TarInfo(path)
    info.size, info.mode, info.mtime = len(data), 0o640, 1_700_000_000
    info.uid, info.gid, info.uname, info.gname = 1000, 1000, "someone", "users"
    stream = io.BytesIO()
    stream.write(info.tobuf(tarfile.PAX_FORMAT))
    stream.write(data + bytes(-len(data) % 512) + bytes(1024))
    return stream.getvalue()


@pytest.mark.parametrize("prefix", ["org.cncf.model", "org.cnai.model"])
def test_its_tars_are_read_with_either_prefix(tmp_path, prefix):
    layout = Layout(tmp_path / "store")
    vendor = prefix.split(".")[1]
    artifact = Artifact(layout, f"application/vnd.{vendor}.model.config.v1+json")
    diffs = []
    for path, data in FILES.items():
        archive = modctl_tar(path, data)
        diffs.append("sha256:" + hashlib.sha256(archive).hexdigest())
        metadata = {"name": path.rpartition("/")[2], "mode": 0o640, "uid": 1000, "gid": 1000, "size": len(data)}
        metadata |= {"mtime": "2023-11-14T23:13:20.123456789+01:00", "typeflag": 48}
        annotations = {f"{prefix}.filepath": path, f"{prefix}.file.metadata+json": json.dumps(metadata)}
        artifact.add(archive, f"application/vnd.{vendor}.model.weight.v1.tar", annotations)
    artifact.tag(REF, {"descriptor": {}, "config": {}, "modelfs": {"type": "layers", "diffIds": diffs}})
    extract(REF, layout, tmp_path / "out")
    for path, data in FILES.items():
        assert (tmp_path / "out" / path).read_bytes() == data
        status = (tmp_path / "out" / path).stat()
        assert (status.st_mode & 0o777, int(status.st_mtime)) == (0o640, 1_700_000_000)
    assert not verify_directory(REF, layout, tmp_path / "out").differs()
