from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modfile.errors import WorkspaceError
from modfile.pickles import pickled
from modfile.workspace import Workspace

pytestmark = pytest.mark.promise("C6")

STATE = collections.OrderedDict((f"layer.{n}.weight", list(range(n))) for n in range(400))
PYTORCH_MAGIC = 0x1950A86A20F9469CFC6C


def is_pickled(root, name, data):
    (root / name).write_bytes(data)
    workspace = Workspace(root)
    return pickled(workspace, workspace.file(name))


def archive(*names, comment=b"", stored=b"x"):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in names:
            file.writestr(name, stored)
        file.comment = comment
    return stream.getvalue()


def zip64(data):
    """Write the end of a zip archive anew, as one of more than 4 GiB has it."""
    end = data.rindex(b"PK\x05\x06")
    count, length, offset = struct.unpack("<HII", data[end + 10 : end + 20])
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    last = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:end] + record + locator + last


def array(descr, version=1):
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (3,), }}".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + b"data"


LEGACY = b"".join(pickle.dumps(part, protocol=2) for part in (PYTORCH_MAGIC, 1001, {"little_endian": True}, STATE))
PICKLES = {
    **{f"protocol{n}.bin": pickle.dumps(STATE, protocol=n) for n in range(6)},
    **{f"small{n}.pt": pickle.dumps(print, protocol=n) for n in range(6)},
    **{f"anything{n}": pickle.dumps({"a": 1}, protocol=n) for n in range(2, 6)},
    "bytes4.bin": pickle.dumps(b"x" * 100_000, protocol=4),
    "legacy.pth": LEGACY + b"\0" * 5000,
    "torch.bin": archive("archive/data.pkl", "archive/version", "archive/data/0"),
    "script.pt": archive("x/code/a.py", "x/constants.pkl", "x/version"),
    "padded.ckpt": archive("archive/version", *(f"archive/data/{n}" for n in range(900)), "archive/data.pkl"),
    "comment.pt": archive("archive/data.pkl", comment=b"c" * 60_000),
    "large.pt": zip64(archive("archive/data.pkl", "archive/data/0", stored=b"y" * 100_000)),
    "model.joblib": b"\x78\x9c compressed",
    "model.pkl.gz": b"\x1f\x8b compressed",
    "MODEL.PKL": b"anything",
    "objects.npy": array("'|O'"),
    "records.npy": array("[('a', '<f4'), ('b', 'O')]", version=2),
}


@pytest.mark.parametrize("name", PICKLES)
def test_what_runs_code_when_it_is_loaded_is_in_pickle_form(tmp_path, name):
    assert is_pickled(tmp_path, name, PICKLES[name])


SAFE = {
    "model.safetensors": struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "model.gguf": b"GGUF\x03\0\0\0",
    "empty.pkl": b"",
    "empty.bin": b"",
    "weights.bin": bytes(range(256)) * 50,
    "zeros.bin": b"\0" * 5000,
    "config.json": b'{"a": 1}',
    "cause.txt": b"cos\nsystem\n(S'true'\ntR.",
    "words.dat": b"c1 c2\nfoo\nbar\n" * 999,
    "class.dat": b"class\nlabel\n" * 999,
    "I.data": b"I think so.\n",
    "N.bin": b"N.",
    "dot.bin": b".",
    "mark.bin": b"\x80",
    "future.bin": b"\x80\xff.",
    "cut.bin": pickle.dumps(STATE, protocol=4)[:50],
    "broken.bin": b"\x80\x04\xff\xff\xff",
    "model.keras": archive("config.json", "model.weights.h5"),
    "wheel.zip": archive("a.py", "data.pkl.txt"),
    "cut.zip": archive("archive/data.pkl")[:-30],
    "head.pt": b"PK\x03\x04",
    "numbers.npy": array("'<f4'"),
    "overlong.npy": b"\x93NUMPY\x01\0\xff\xff{'descr': '<f4'}",
    "cut.npy": b"\x93NUMPY",
    "sentencepiece.model": b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02" * 500,
    "pickle.py": b"import pickle\n",
}


@pytest.mark.parametrize("name", SAFE)
def test_what_runs_nothing_is_not_in_pickle_form(tmp_path, name):
    assert not is_pickled(tmp_path, name, SAFE[name])


def test_a_directory_of_an_archive_that_lies_about_itself_is_harmless(tmp_path):
    good = archive("archive/data.pkl")
    end = good.rindex(b"PK\x05\x06")
    for length, offset in [(0xFFFFFFFF, 0), (0, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (5, 10)]:
        data = good[: end + 12] + struct.pack("<II", length, offset) + good[end + 20 :]
        assert not is_pickled(tmp_path, "a.pt", data)
    huge = struct.pack("<4sIQI", b"PK\x06\x07", 0, 2**64 - 1, 1)
    assert not is_pickled(tmp_path, "a.pt", good[:end] + huge + good[end:])


def test_only_a_little_of_a_large_file_is_read(tmp_path):
    file = tmp_path / "model.bin"
    with file.open("wb") as stream:
        stream.write(b"PK\x03\x04")
        stream.truncate(1 << 42)
    workspace = Workspace(tmp_path)
    assert not pickled(workspace, workspace.file("model.bin"))


def test_a_file_that_changed_is_an_error(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"x")
    workspace = Workspace(tmp_path)
    file = workspace.file("a.bin")
    (tmp_path / "a.bin").write_bytes(b"longer")
    with pytest.raises(WorkspaceError, match=r"a\.bin changed"):
        pickled(workspace, file)


STARTS = st.sampled_from(
    [b"", b"\x80\x02", b"\x80\x05", b"PK\x03\x04", b"\x93NUMPY\x01\0", b"PK\x03\x04PK\x05\x06", b"c"]
)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=STARTS, rest=st.binary(max_size=200))
def test_any_bytes_get_an_answer(tmp_path, start, rest):
    assert is_pickled(tmp_path, "a.pt", start + rest) in (True, False)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(
        st.none() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    protocol=st.integers(2, 5),
)
def test_every_pickle_of_a_marked_protocol_is_found(tmp_path, value, protocol):
    assert is_pickled(tmp_path, "a", pickle.dumps(value, protocol=protocol))
