import contextlib
import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile import strictjson
from modfile.content import Descriptor, Digest
from modfile.errors import ContentError
from modfile.kind import Kind
from modfile.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    children,
    media_type_of,
)
from modfile.modelpack import FileMetadata, Layer, format_time_ns, parse_time_ns, raw_layer

CONTENT = Descriptor("a/b", Digest.of(b"x"), 1)
GOOD = {
    "schemaVersion": 2,
    "mediaType": OCI_MANIFEST,
    "config": CONTENT.to_json(),
    "layers": [CONTENT.to_json()],
}


def encode(value):
    return json.dumps(value).encode()


def test_a_manifest_reads_as_it_is_written():
    subject = dataclasses.replace(CONTENT, media_type=OCI_MANIFEST)
    manifest = Manifest(OCI_MANIFEST, CONTENT, (CONTENT, CONTENT), "x/y", subject, {"b": "1", "a": "2"})
    assert Manifest.parse(manifest.to_bytes()) == manifest


def test_equal_manifests_are_equal_bytes():
    one = Manifest(OCI_MANIFEST, CONTENT, (), annotations={"b": "1", "a": "2"})
    other = Manifest(OCI_MANIFEST, CONTENT, (), annotations={"a": "2", "b": "1"})
    assert one.to_bytes() == other.to_bytes()


@pytest.mark.promise("R2")
@pytest.mark.parametrize(
    "change",
    [
        {"schemaVersion": 1},
        {"schemaVersion": "2"},
        {"mediaType": "text/html"},
        {"mediaType": OCI_INDEX},
        {"mediaType": 5},
        {"config": None},
        {"config": []},
        {"layers": None},
        {"layers": {}},
        {"layers": [None]},
        {"layers": ["x"]},
        {"subject": "x"},
        {"subject": []},
        {"artifactType": 5},
        {"annotations": "x"},
        {"annotations": {"a": None}},
    ],
)
def test_a_broken_manifest_is_refused(change):
    with pytest.raises(ContentError):
        Manifest.parse(encode({**GOOD, **change}))


@pytest.mark.promise("R2")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b"{",
        b'{"schemaVersion": NaN}',
        b'{"schemaVersion": 2, "schemaVersion": 2}',
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b" " * (MAX_MANIFEST + 1),
    ],
)
def test_what_is_no_json_object_of_a_sane_kind_is_refused(data):
    for parse in (Manifest.parse, media_type_of, lambda value: children(OCI_INDEX, value)):
        with pytest.raises(ContentError):
            parse(data)


@pytest.mark.promise("R2")
def test_a_key_that_stands_twice_is_named():
    with pytest.raises(ContentError, match="'config'"):
        strictjson.parse(b'{"config": 1, "x": {}, "config": 2}', "it")


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_make_anything_but_an_error_of_ours(data):
    for parse in (Manifest.parse, media_type_of):
        with contextlib.suppress(ContentError):
            parse(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([*GOOD, "subject", "annotations", "artifactType"]), JSON)
def test_no_value_of_a_field_makes_anything_but_an_error_of_ours(key, value):
    with contextlib.suppress(ContentError):
        Manifest.parse(encode({**GOOD, key: value}))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({**GOOD}, OCI_MANIFEST),
        ({**GOOD, "mediaType": DOCKER_MANIFEST}, DOCKER_MANIFEST),
        ({"schemaVersion": 2, "manifests": []}, OCI_INDEX),
        ({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": []}, DOCKER_LIST),
        ({"schemaVersion": 2}, OCI_MANIFEST),
    ],
)
def test_the_type_is_what_is_said_or_what_the_fields_tell(value, expected):
    assert media_type_of(encode(value)) == expected


@pytest.mark.parametrize("kind", Kind)
def test_a_layers_type_tells_its_kind(kind):
    metadata = FileMetadata("x", 0o644, 1, 2, 3, 1_600_000_000_000_000_001)
    content = raw_layer(kind, "d/x", Digest.of(b"abc"), metadata)
    assert Layer.parse(content) == Layer(content, kind, "raw", "d/x", metadata)


@pytest.mark.parametrize("ending", ["raw", "tar", "tar+gzip", "tar+zstd"])
@pytest.mark.parametrize("older", ["cncf", "cnai"])
def test_the_formats_and_the_older_names_are_known(ending, older):
    content = dataclasses.replace(CONTENT, media_type=f"application/vnd.{older}.model.weight.config.v1.{ending}")
    assert (Layer.parse(content).kind, Layer.parse(content).format) == (Kind.CONFIG, ending)


@pytest.mark.parametrize("ending", ["weight.v1.zip", "weight.v2.raw", "weight.v1", "bogus.v1.raw", "weight.v1.rawx"])
def test_unknown_layers_are_named(ending):
    media_type = f"application/vnd.cncf.model.{ending}"
    with pytest.raises(ContentError, match=media_type.replace(".", r"\.")):
        Layer.parse(dataclasses.replace(CONTENT, media_type=media_type))


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (-1_000_000_000, "1969-12-31T23:59:59Z"),
        (-62135596800 * 10**9, "0001-01-01T00:00:00Z"),
    ],
)
def test_times_read_as_they_are_written(time_ns, text):
    assert format_time_ns(time_ns) == text
    assert parse_time_ns(text) == time_ns


def test_times_of_other_zones_are_read():
    assert parse_time_ns("2020-01-01T01:00:00.25+01:00") == 1_577_836_800_250_000_000


def test_a_time_that_no_calendar_has_is_written_as_1970():
    assert format_time_ns(10**30) == "1970-01-01T00:00:00Z"
