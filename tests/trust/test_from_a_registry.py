"""What a hostile registry may try, and what comes of it: R1 to R9 of docs/security.md, and G1 with each."""

from __future__ import annotations

import gzip
import json
import re
import time
from dataclasses import replace

import pytest

from modfile.backoff import Backoff
from modfile.content import Digest
from modfile.manifest import MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST
from modfile.modelpack import CONFIG_TYPE, MAX_CONFIG
from modfile.reference import Reference
from modfile_cmd.session import Session
from tests.registries.fake import Answer

from .hostile import (
    BASIC,
    CONFIG,
    IDENTITY,
    LAYER_TYPE,
    MARK,
    METADATA,
    NAME,
    NETRC_PASSWORD,
    PASSWORD,
    TOKEN,
    USER,
    WEIGHTS,
    Laboratory,
    challenge,
    chunked,
    deep,
    descriptor,
    dripping,
    forever,
    guarded,
    has_secret,
    head,
    index,
    layer,
    manifest,
    redirect,
    surroundings,
    verbatim,
)

HEX = "ab" * 32
BLOB = f"blobs/{Digest.of(WEIGHTS)}$"
MANIFEST = json.dumps(manifest()).encode()
TYPED = f"Content-Type: {OCI_MANIFEST}"
MIB = 1 << 20


@pytest.fixture
def lab(tmp_path, monkeypatch, fake, other_fake):
    """A laboratory whose user waits for nobody: no pauses, and a fifth of the usual tries."""
    surroundings(tmp_path, monkeypatch)
    home = tmp_path / "home"
    netrc = "".join(f"machine {name} login x password {NETRC_PASSWORD}\n" for name in ("127.0.0.1", "localhost"))
    (home / ".netrc").write_text(netrc)
    (home / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(home / ".netrc"))
    monkeypatch.setattr(Backoff, "pause", lambda self, failures: 0.0)
    hurry(monkeypatch)
    made = Laboratory(tmp_path, fake, other_fake)
    kept = {**manifest(), "layers": [layer(WEIGHTS[::-1])]}
    with made.layout.writing():
        made.layout.add_bytes(CONFIG, CONFIG_TYPE)
        made.layout.add_bytes(WEIGHTS[::-1], LAYER_TYPE)
        content = made.layout.add_bytes(json.dumps(kept).encode(), OCI_MANIFEST)
        made.layout.tag(content, Reference.parse("old.test/kept/model:v1"))
    made.kept = content.digest
    made.log_in()
    return made


def hurry(monkeypatch, sleep=lambda seconds: None, **limits):
    """Let the program's registries have other limits than the usual ones, and pauses that take no time."""
    usual = Session._settings
    limits = {"stall_timeout": 10.0, **limits}

    def settings(self, host, connection):
        backoff = Backoff(attempts=2, patience=1.0, sleep=sleep)
        return replace(usual(self, host, connection), backoff=backoff, connect_timeout=5.0, **limits)

    monkeypatch.setattr(Session, "_settings", settings)


def both_fail(lab, says, code=(1, 3, 4, 5)):
    """See that the artifact is refused into the store, and as files straight from the registry."""
    for act in (lab.pull, lab.fetch):
        done = act()
        lab.check_failed(done, code)
        assert re.search(says, done.error), done.error
    with pytest.raises(Exception, match="not in the local store"):
        lab.layout.resolve(Reference.parse(lab.reference))


def recovers(lab):
    """See that the same commands succeed once the registry behaves, with the right bytes."""
    lab.reform()
    lab.serve(manifest())
    assert lab.pull().exit_code == 0
    lab.check_harmless()
    assert lab.fetch().exit_code == 0
    assert (lab.out / "weights.bin").read_bytes() == WEIGHTS
    assert list((lab.layout.root / "ingest").iterdir()) == []


def test_the_laboratory_works(lab):
    guarded(lab, f"http://{lab.evil.host}/token")
    lab.answer("^/token", Answer(body=json.dumps({"token": TOKEN}).encode()))
    lab.serve(manifest())
    assert lab.pull().exit_code == 0
    lab.check_harmless()
    assert {seen.authorization for seen in lab.evil.seen} == {None, BASIC, f"Bearer {TOKEN}"}
    with pytest.raises(AssertionError):
        lab.check_failed(lab.pull())


# R1: digests and sizes

BAD_DIGESTS = {
    "a path": "sha256:../../../../etc/cron.d/x",
    "a path of the right length": "sha256:" + ("../" * 22)[:64],
    "an absolute path": "/etc/passwd",
    "upper case": f"sha256:{HEX.upper()}",
    "too short": f"sha256:{HEX[:-1]}",
    "too long": f"sha256:{HEX}0",
    "a NUL": f"sha256:{HEX[:-1]}\0",
    "a newline": f"sha256:{HEX}\n",
    "a newline inside": f"sha256:{HEX[:-1]}\n",
    "a space": f" sha256:{HEX}",
    "unicode digits": "sha256:" + "٣" * 64,
    "full width digits": "sha256:" + "１" * 64,
    "md5": "md5:" + "a" * 32,
    "sha1": "sha1:" + "a" * 40,
    "the other's length": f"sha512:{HEX}",
    "no algorithm": HEX,
    "an empty algorithm": f":{HEX}",
    "an algorithm that is a path": f"../sha256:{HEX}",
    "two colons": f"sha256:sha256:{HEX}",
    "empty": "",
    "a number": 7,
    "null": None,
    "a list": ["sha256", HEX],
    "an object": {"sha256": HEX},
    "a URL": f"http://evil.example/sha256:{HEX}",
    "a query": f"sha256:{HEX[:-3]}?x=",
    "an encoded slash": f"sha256:{HEX[:-3]}%2f",
}
PLACES = {
    "a layer": lambda digest: manifest(layers=[layer(digest=digest)]),
    "the config": lambda digest: manifest(config=descriptor(CONFIG, CONFIG_TYPE, digest=digest)),
    "the subject": lambda digest: manifest(subject=descriptor(b"{}", OCI_MANIFEST, digest=digest)),
}


@pytest.mark.promise("R1", "G1")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", BAD_DIGESTS)
def test_what_is_no_digest_is_used_for_nothing(lab, place, name):
    lab.serve(PLACES[place](BAD_DIGESTS[name]))
    both_fail(lab, "is not a digest", 1)
    assert {seen.path for seen in lab.evil.seen} == {f"/v2/{NAME}/manifests/v1"}


@pytest.mark.promise("R1", "G1")
@pytest.mark.parametrize("name", BAD_DIGESTS)
def test_what_is_no_digest_in_an_index_is_used_for_nothing(lab, name):
    lab.serve(index(descriptor(MANIFEST, OCI_MANIFEST, digest=BAD_DIGESTS[name])), OCI_INDEX)
    done = lab.pull()
    lab.check_failed(done, 1)
    assert "is not a digest" in done.error
    assert len(lab.evil.seen) == 1


@pytest.mark.promise("R1", "G1")
@pytest.mark.parametrize("name", [name for name, text in BAD_DIGESTS.items() if isinstance(text, str)])
def test_a_header_that_is_no_digest_is_refused(lab, name):
    said = BAD_DIGESTS[name].encode("utf-8").decode("latin-1").replace("\n", "").replace("\0", "")
    if said.strip() == f"sha256:{HEX}":  # as it arrives this one is a digest, but of something else
        said = f"sha256:{HEX[:-1]}"
    lab.answer("manifests/v1", Answer(200, {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": said}, MANIFEST))
    both_fail(lab, "is not a digest", 1)


BAD_SIZES = {
    "negative": "-1",
    "2^63": str(2**63),
    "2^64": str(2**64),
    "of 400 digits": "1" + "0" * 400,
    "of 5,000 digits": "1" + "0" * 5000,
    "an exponent": "1e3",
    "a fraction": "76800.0",
    "minus zero point": "-0.0",
    "text": '"76800"',
    "true": "true",
    "null": "null",
    "a list": "[76800]",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "hexadecimal": "0x10",
    "with a leading zero": "076800",
}


@pytest.mark.promise("R1", "R2", "G1")
@pytest.mark.parametrize("name", BAD_SIZES)
def test_what_is_no_size_is_refused(lab, name):
    text = json.dumps(manifest(layers=[layer(size="SIZE")])).replace('"SIZE"', BAD_SIZES[name])
    lab.serve(text.encode())
    both_fail(lab, "size|not JSON|number", 1)
    assert len(lab.evil.seen) == 2


@pytest.mark.promise("R1", "G1")
@pytest.mark.parametrize("field", ["size", "digest", "mediaType"])
@pytest.mark.parametrize("place", ["layers", "config"])
def test_a_descriptor_that_lacks_a_field_is_refused(lab, field, place):
    said = manifest()
    del (said["layers"][0] if place == "layers" else said["config"])[field]
    lab.serve(said)
    both_fail(lab, "is not", 1)


@pytest.mark.promise("R1", "R3", "G1")
@pytest.mark.parametrize("framing", ["length", "chunks", "close", "endless"])
@pytest.mark.parametrize("size", [0, 1, len(WEIGHTS) - 1, len(WEIGHTS) + 1, 2 * len(WEIGHTS), 1 << 40, 2**63 - 1])
def test_a_size_that_lies_is_found_out_however_the_blob_comes(lab, size, framing):
    if framing == "endless" and size > 2 * len(WEIGHTS):
        pytest.skip("such a blob would come as long as there is room")
    lab.serve(manifest(layers=[layer(size=size)]))
    answers = {
        "length": Answer(200, {}, WEIGHTS),
        "chunks": verbatim(chunked(WEIGHTS)),
        "close": verbatim(head("Connection: close") + WEIGHTS),
        "endless": forever(head("Connection: close") + WEIGHTS, bytes(1 << 16)),
    }
    lab.answer(BLOB, answers[framing])
    if size:
        both_fail(lab, "is said to|broke off|should be|the disk has", (1, 4))
    else:
        both_fail(lab, "is said to|should be", 4)
    lab.layout.root.joinpath("ingest").mkdir(exist_ok=True)
    for left in lab.layout.root.joinpath("ingest").iterdir():  # what broke off may be gone on with, if it may be right
        assert left.stat().st_size <= len(WEIGHTS) < size
    recovers(lab)


@pytest.mark.promise("R1", "G1")
def test_a_manifests_size_that_lies_in_an_index_is_found_out(lab):
    said = lab.serve(manifest())
    for size in (0, said["size"] - 1, said["size"] + 1, 2**63 - 1):
        lab.serve(index({**said, "size": size}), OCI_INDEX)
        done = lab.pull()
        lab.check_failed(done, (1, 4))
        assert re.search(r"is said to be|more than", done.error)


# R2: bounded documents

FIFTY = 50 * MIB


def large(data, declared):
    """Return a manifest's answer that says so many bytes, or none."""
    length = [] if declared is None else [f"Content-Length: {declared}"]
    return verbatim(head(TYPED, "Connection: close", *length) + data)


@pytest.mark.promise("R2", "G1")
@pytest.mark.parametrize("declared", [FIFTY, None, 1000, MAX_MANIFEST])
def test_a_manifest_of_fifty_megabytes_is_not_read(lab, declared):
    data = MANIFEST.ljust(FIFTY)
    lab.answer("manifests/v1", large(data, declared))
    if declared in (1000, MAX_MANIFEST):  # the rest is not even looked at
        data = data[:declared]
        if len(MANIFEST) <= declared:
            lab.serve(manifest())
            assert lab.pull().exit_code == 0
            return
    both_fail(lab, "more than 4194304 bytes|not JSON", 1)


@pytest.mark.promise("R2", "G1")
@pytest.mark.parametrize("name", ["endless", "endless in chunks", "endless with a length that lies"])
def test_an_endless_manifest_is_not_read_to_its_end(lab, name):
    answers = {
        "endless": forever(head(TYPED, "Connection: close"), b" " * 65536),
        "endless in chunks": forever(head(TYPED, "Transfer-Encoding: chunked"), b"10000\r\n" + b" " * 65536 + b"\r\n"),
        "endless with a length that lies": forever(head(TYPED, f"Content-Length: {10**15}"), b" " * 65536),
    }
    lab.answer("manifests/v1", answers[name])
    both_fail(lab, "more than 4194304 bytes", 1)


@pytest.mark.promise("R2", "G1")
def test_a_manifest_may_have_four_mebibytes_and_not_one_byte_more(lab):
    lab.serve(MANIFEST.ljust(MAX_MANIFEST))
    assert lab.pull().exit_code == 0
    lab.check_harmless()
    lab.serve(MANIFEST.ljust(MAX_MANIFEST + 1))
    done = lab.pull()
    lab.check_failed(done, 1)
    assert "more than 4194304 bytes" in done.error


@pytest.mark.promise("R2", "G1")
@pytest.mark.parametrize("size", [MAX_CONFIG + 1, FIFTY])
def test_a_config_above_one_mebibyte_is_not_asked_for(lab, size):
    config = CONFIG.ljust(size)
    lab.serve(manifest(config=descriptor(config, CONFIG_TYPE)))
    lab.evil.add(config)
    done = lab.run("inspect", "--remote", lab.reference)
    lab.check_failed(done, 1)
    assert "more than the 1,048,576 allowed" in done.error
    assert lab.evil.requests("GET", "blobs") == []


@pytest.mark.promise("R2", "G1")
def test_a_config_of_one_mebibyte_is_read(lab):
    config = CONFIG.ljust(MAX_CONFIG)
    lab.serve(manifest(config=descriptor(config, CONFIG_TYPE)))
    lab.evil.add(config)
    assert lab.run("inspect", "--remote", lab.reference).exit_code == 0


@pytest.mark.promise("R2", "G1")
def test_a_config_that_is_larger_than_it_says_is_read_no_further(lab):
    lab.serve(manifest())
    lab.answer(f"blobs/{Digest.of(CONFIG)}", forever(head("Connection: close") + CONFIG, bytes(1 << 16)))
    done = lab.run("inspect", "--remote", lab.reference)
    lab.check_failed(done, 4)


BROKEN = {
    "deep": deep(),
    "deep objects": '{"a":' * 200_000 + "1" + "}" * 200_000,
    "a key twice": '{"a":1,"a":1}',
    "a key twice, one of them escaped": '{"a":1,"\\u0061":1}',
    "NaN": '{"a":NaN}',
    "Infinity": '{"a":-Infinity}',
    "a number of 10,000 digits": '{"a":' + "9" * 10_000 + "}",
    "not UTF-8": b'{"a":"\xff"}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "half a character": '{"a":"\\ud800"}',
    "cut off": '{"a":',
    "two values": "{}{}",
    "a comment": '{"a":1} // b',
    "a trailing comma": '{"a":1,}',
    "a control character": '{"a":"\x01"}',
    "nothing": "",
    "white space": "   ",
    "NULs": "\0" * 100,
    "HTML": "<html>log in</html>",
    "a string": '"text"',
    "a number": "7",
    "null": "null",
    "a list": "[]",
}
BYTES = {name: text.encode() if isinstance(text, str) else text for name, text in BROKEN.items()}
READ_AS_JSON = "manifest|config|metadata|token answer|list of tags|an object"


@pytest.mark.promise("R2", "G1")
@pytest.mark.parametrize("name", BYTES)
def test_a_manifest_that_is_no_good_json_is_refused(lab, name):
    lab.serve(BYTES[name])
    both_fail(lab, READ_AS_JSON + "|v1", 1)


NOT_JSON = [name for name in BYTES if name not in ("a string", "a number", "null", "a list")]


@pytest.mark.promise("R2", "G1")
@pytest.mark.parametrize("name", [name for name in NOT_JSON if len(BYTES[name]) < 20_000])
def test_a_manifest_with_what_is_no_good_json_inside_is_refused(lab, name):
    lab.serve(MANIFEST[:-1] + b',"extra":' + BYTES[name] + b"}")
    both_fail(lab, "JSON|UTF-8|Unicode", 1)


@pytest.mark.promise("R2", "G1")
@pytest.mark.parametrize("key", ["layers", "config", "schemaVersion", "mediaType", "annotations"])
def test_a_manifest_with_a_key_of_its_own_twice_is_refused(lab, key):
    said = manifest(annotations={})
    lab.serve(MANIFEST[:-1] + b',"annotations":{},' + json.dumps({key: said[key]}).encode()[1:])
    if key == "annotations":
        both_fail(lab, "'annotations' stands twice", 1)
    else:
        both_fail(lab, f"'{key}' stands twice", 1)


@pytest.mark.promise("R2", "G1")
@pytest.mark.parametrize("name", [name for name in BYTES if len(BYTES[name]) <= MAX_CONFIG])
def test_a_config_that_is_no_good_json_is_refused(lab, name):
    lab.evil.add(BYTES[name])
    lab.serve(manifest(config=descriptor(BYTES[name], CONFIG_TYPE)))
    for arguments in (["inspect", "--remote"], ["inspect", "--remote", "--config"]):
        done = lab.run(*arguments, lab.reference)
        lab.check_failed(done, 1)
        assert "model config" in done.error


@pytest.mark.promise("R2", "G1")
@pytest.mark.parametrize("name", [name for name, data in BYTES.items() if not name.startswith(("not UTF", "UTF-16"))])
def test_file_metadata_that_is_no_good_json_is_refused(lab, name):
    metadata = BYTES[name].decode()
    said = layer()
    said["annotations"][METADATA] = metadata
    lab.serve(manifest(layers=[said]))
    done = lab.fetch()
    lab.check_failed(done, 1)
    assert "metadata" in done.error


@pytest.mark.promise("R2", "R4", "G1")
@pytest.mark.parametrize("name", BYTES)
def test_a_token_answer_that_is_no_good_json_is_refused(lab, name):
    guarded(lab, f"http://{lab.evil.host}/token")
    lab.answer("^/token", Answer(body=BYTES[name]))
    lab.serve(manifest())
    both_fail(lab, "token answer", 1)


@pytest.mark.promise("R2", "R4", "G1")
@pytest.mark.parametrize("declared", [FIFTY, None])
def test_a_token_answer_of_fifty_megabytes_is_not_read(lab, declared):
    guarded(lab, f"http://{lab.evil.host}/token")
    length = [] if declared is None else [f"Content-Length: {declared}"]
    token = json.dumps({"token": TOKEN}).encode()
    lab.answer("^/token", verbatim(head("Connection: close", *length) + token.ljust(FIFTY)))
    both_fail(lab, "more than 131072 bytes", 1)


@pytest.mark.promise("R2", "R9", "G1")
@pytest.mark.parametrize("name", BYTES)
def test_a_list_of_tags_that_is_no_good_json_is_refused(lab, name):
    lab.answer("tags/list", Answer(body=BYTES[name]))
    done = lab.run("ls", "--remote", f"{lab.evil.host}/{NAME}")
    if name in ("a string", "a number", "null", "a list"):  # such a list names no tags
        assert done.exit_code in (0, 1)
        lab.check_harmless()
    else:
        lab.check_failed(done, 1)
        assert "list of tags" in done.error


@pytest.mark.promise("R2", "G1")
@pytest.mark.parametrize("name", BYTES)
def test_the_body_of_a_failure_may_be_anything(lab, name):
    lab.answer("manifests", Answer(400, {"Content-Type": "text/plain"}, BYTES[name]))
    both_fail(lab, "400 Bad Request", 1)


SHAPES = {
    "layers that are null": manifest(layers=[None]),
    "layers that are no list": manifest(layers={"0": layer()}),
    "no layers": {key: value for key, value in manifest().items() if key != "layers"},
    "a config that is a string": manifest(config="sha256:" + HEX),
    "a config that is null": manifest(config=None),
    "another version": manifest(schemaVersion=1),
    "a version that is true": manifest(schemaVersion=True),
    "a version on two lines": manifest(schemaVersion="2\nerror: all is well"),
    "a type that is a list": manifest(mediaType=[OCI_MANIFEST]),
    "a type on two lines": manifest(mediaType="a\nerror: all is well\x1b[2J"),
    "annotations that are numbers": manifest(annotations={"a": 1}),
    "annotations that are a list": manifest(annotations=["a"]),
    "a layer's type on two lines": manifest(layers=[layer(mediaType="a/b\nc")]),
    "a layer's type that escapes": manifest(layers=[layer(mediaType="a/\x1b[31m")]),
    "an artifact type that is a list": manifest(artifactType=[1]),
    "a subject that is a string": manifest(subject="x"),
}


@pytest.mark.promise("R2", "G1")
@pytest.mark.parametrize("name", SHAPES)
def test_a_manifest_of_another_shape_is_refused(lab, name):
    lab.serve(SHAPES[name])
    both_fail(lab, "manifest|descriptor|annotations", 1)


@pytest.mark.promise("R2", "G1")
@pytest.mark.parametrize("name", SHAPES)
def test_a_manifest_of_another_shape_in_an_index_is_refused(lab, name):
    child = lab.serve(SHAPES[name])
    lab.serve(index(child), OCI_INDEX)
    done = lab.pull()
    lab.check_failed(done, 1)


@pytest.mark.promise("R2", "G1")
@pytest.mark.parametrize("item", ["0", "{}", "null", '""'])
def test_a_million_layers_are_refused_at_once(lab, item):
    many = (MAX_MANIFEST - 2000) // (len(item) + 1)
    lab.serve(json.dumps(manifest(layers=["LAYERS"])).replace('"LAYERS"', ",".join([item] * many)).encode())
    both_fail(lab, "more than the 100,000 allowed", 1)


@pytest.mark.promise("G1")
def test_what_an_artifact_calls_itself_stays_on_one_line(lab):
    for artifact_type in ("a\nerror: all is well\x1b[2J", "x" * (3 * MIB)):
        other = descriptor(CONFIG, "application/vnd.example.config")
        lab.serve(manifest(artifactType=artifact_type, config=other))
        done = lab.fetch()
        lab.check_failed(done, 1)
        assert "not a ModelPack artifact" in done.error


@pytest.mark.promise("R2", "R8", "G1")
def test_indexes_that_multiply_are_gone_through_once(lab):
    """Each of a few levels points twenty times at the next: 160,000 ways down, and 81 manifests."""
    below = [lab.serve(manifest(annotations={"n": str(n)})) for n in range(20)]
    for level in range(3):
        below = [lab.serve({**index(*below), "annotations": {"n": f"{level}-{n}"}}, OCI_INDEX) for n in range(20)]
    lab.serve(index(*below), OCI_INDEX)
    assert lab.pull().exit_code == 0
    assert len(lab.evil.requests("GET", "manifests")) == 81


@pytest.mark.promise("R2", "G1")
def test_indexes_that_are_nested_without_end_are_refused(lab):
    below = lab.serve(manifest())
    for _ in range(6):
        below = lab.serve(index(below), OCI_INDEX)
    done = lab.pull()
    lab.check_failed(done, 1)
    assert "nested more than" in done.error


# R3: bytes are what their digest says, whatever the headers say

FALSE = WEIGHTS[:-1] + b"!"
BAD_BODIES = {
    "other bytes": Answer(200, {}, FALSE),
    "other bytes with their right digest in a header": Answer(
        200, {"Docker-Content-Digest": str(Digest.of(FALSE))}, FALSE
    ),
    "other bytes with the wanted digest in a header": Answer(
        200, {"Docker-Content-Digest": str(Digest.of(WEIGHTS)), "ETag": str(Digest.of(WEIGHTS))}, FALSE
    ),
    "other bytes in chunks": verbatim(chunked(FALSE)),
    "one byte less": Answer(200, {}, WEIGHTS[:-1]),
    "one byte more": Answer(200, {}, WEIGHTS + b"!"),
    "one byte more in chunks": verbatim(chunked(WEIGHTS + b"!")),
    "one byte less in chunks": verbatim(chunked(WEIGHTS[:-1])),
    "nothing": Answer(200, {}, b""),
    "endless": Answer(200, {}, WEIGHTS, endless=True),
    "endless in chunks": forever(head("Transfer-Encoding: chunked"), b"10000\r\n" + bytes(1 << 16) + b"\r\n"),
    "endless from the first": forever(head("Connection: close"), bytes(1 << 16)),
    "compressed": Answer(200, {"Content-Encoding": "gzip"}, gzip.compress(WEIGHTS, 0)),
    "compressed in chunks": verbatim(chunked(gzip.compress(WEIGHTS), "Content-Encoding: gzip")),
    "a bomb in chunks": verbatim(chunked(gzip.compress(bytes(64 * MIB), 1), "Content-Encoding: gzip")),
    "deflated": verbatim(chunked(b"x\x9c" + bytes(99), "Content-Encoding: deflate, br, zstd")),
    "a range nobody asked for": Answer(206, {"Content-Range": f"bytes 1-{len(WEIGHTS) - 1}/{len(WEIGHTS)}"}, WEIGHTS),
    "a page": Answer(200, {"Content-Type": "text/html"}, b"<html>log in</html>"),
    "no content": Answer(204),
    "a redirect to nowhere": Answer(302),
    "an answer to another question": Answer(304),
}


@pytest.mark.promise("R3", "G1")
@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_blob_of_other_bytes_is_refused_and_leaves_nothing_behind(lab, name):
    lab.serve(manifest())
    lab.answer(BLOB, BAD_BODIES[name])
    both_fail(lab, "should be|is said to|was asked for|no answer|302|304", (1, 4))
    assert all(left.stat().st_size == 0 for left in (lab.layout.root / "ingest").iterdir())
    recovers(lab)


BROKEN_LENGTHS = {
    "cut off": verbatim(head(f"Content-Length: {len(WEIGHTS)}") + WEIGHTS[:-100]),
    "cut off in chunks": verbatim(chunked(WEIGHTS)[:-200]),
    "cut off with the connection": verbatim(head("Connection: close") + WEIGHTS[:-100]),
    "a length that is negative": verbatim(head("Content-Length: -1") + WEIGHTS),
    "a length that is no number": verbatim(head("Content-Length: many") + WEIGHTS),
    "a length of unicode digits": verbatim(head("Content-Length: \xb2\xb3") + WEIGHTS),
    "a length of 10,000 digits": verbatim(head("Content-Length: " + "9" * 10_000) + WEIGHTS),
    "two lengths": verbatim(head(f"Content-Length: {len(WEIGHTS)}", "Content-Length: 3") + WEIGHTS),
    "two lengths in one": verbatim(head(f"Content-Length: {len(WEIGHTS)}, 3") + WEIGHTS),
    "a length beside chunks": verbatim(chunked(WEIGHTS[:-1], f"Content-Length: {len(WEIGHTS)}")),
    "a chunk of negative size": verbatim(head("Transfer-Encoding: chunked") + b"-5\r\n" + WEIGHTS),
    "a chunk of signed size": verbatim(head("Transfer-Encoding: chunked") + b"+12c00\r\n" + WEIGHTS + b"\r\n0\r\n\r\n"),
    "a chunk of spaced size": verbatim(head("Transfer-Encoding: chunked") + b"1_2c00\r\n" + WEIGHTS + b"\r\n0\r\n\r\n"),
    "a chunk of no size": verbatim(head("Transfer-Encoding: chunked") + b"\r\n" + WEIGHTS),
    "a chunk of endless size": verbatim(head("Transfer-Encoding: chunked") + b"F" * 100 + b"\r\n" + WEIGHTS),
    "a chunk with an endless extension": forever(head("Transfer-Encoding: chunked") + b"5;", b"x" * 65536),
}


@pytest.mark.promise("R3", "R8", "G1")
@pytest.mark.parametrize("name", BROKEN_LENGTHS)
def test_a_blob_whose_length_makes_no_sense_is_refused(lab, name):
    lab.serve(manifest())
    lab.answer(BLOB, BROKEN_LENGTHS[name])
    both_fail(lab, "broke off|is said to|cannot reach|more came", (1, 4))
    for left in (lab.layout.root / "ingest").iterdir():
        assert WEIGHTS.startswith(left.read_bytes())
    recovers(lab)


@pytest.mark.promise("R3", "R8", "G1")
def test_an_endless_trailer_ends_nothing_but_the_transfer(lab):
    lab.serve(manifest())
    lab.answer(BLOB, forever(chunked(WEIGHTS)[:-2], b"X-Trailer: x\r\n" * 1000))
    done = lab.pull()
    assert done.exit_code == 0, "all that was to come had come, and was right"
    assert "broke off" in done.stderr
    lab.check_harmless()


@pytest.mark.promise("R3")
@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {"Docker-Content-Digest": f"sha256:{HEX}"}, WEIGHTS),
        Answer(200, {"Docker-Content-Digest": "../../x", "Content-Disposition": "filename=/etc/x"}, WEIGHTS),
        Answer(200, {"Content-Type": "text/html"}, WEIGHTS),
        Answer(200, {"Content-Encoding": "gzip"}, WEIGHTS),
        Answer(200, {"Refresh": "0; url=http://localhost:1/", "Set-Cookie": "a=b", "Alt-Svc": 'h2="evil:1"'}, WEIGHTS),
        Answer(200, {"Transfer-Encoding": "identity", "Content-Location": "http://localhost:1/"}, WEIGHTS),
        verbatim(chunked(WEIGHTS)),
        verbatim(head("Transfer-Encoding: chunked") + b"12C00;x=y\r\n" + WEIGHTS + b"\r\n000\r\nX: y\r\n\r\n"),
    ],
)
def test_headers_are_hints_and_right_bytes_are_right(lab, answer):
    lab.serve(manifest())
    lab.answer(BLOB, answer)
    assert lab.pull().exit_code == 0
    lab.check_harmless()
    assert lab.layout.blob_path(Digest.of(WEIGHTS)).read_bytes() == WEIGHTS
    assert all("cookie" not in seen.headers for seen in lab.evil.seen)


@pytest.mark.promise("R3", "G1")
@pytest.mark.parametrize("digest", [f"sha256:{HEX}", str(Digest.of(b"other")), "sha512:" + "0" * 128])
def test_a_manifest_that_is_not_what_its_header_says_is_refused(lab, digest):
    lab.serve(manifest())
    lab.answer("manifests/v1", Answer(200, {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": digest}, MANIFEST))
    both_fail(lab, "the registry says", 4)


@pytest.mark.promise("R3", "G1")
@pytest.mark.parametrize("media_type", ["text/html", "", "application/json; charset=x", OCI_INDEX, "a/b"])
def test_a_manifest_whose_type_lies_is_refused_or_read_for_what_it_is(lab, media_type):
    lab.serve(MANIFEST, media_type)
    done = lab.pull()
    if media_type == OCI_INDEX:
        lab.check_failed(done, 1)
    else:
        assert done.exit_code == 0
        lab.check_harmless()


@pytest.mark.promise("R3", "G1")
def test_a_compressed_manifest_is_not_unpacked(lab):
    bomb = gzip.compress(bytes(200 * MIB), 1)
    for data in (gzip.compress(MANIFEST), bomb):
        lab.answer("manifests/v1", Answer(200, {"Content-Type": OCI_MANIFEST, "Content-Encoding": "gzip"}, data))
        both_fail(lab, "not UTF-8|not JSON", 1)
        lab.reform()


@pytest.mark.promise("R3", "G1")
def test_a_digest_in_the_reference_counts_for_more_than_all_the_registry_says(lab):
    lab.serve(manifest())
    wanted = f"sha256:{HEX}"
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": wanted}
    lab.answer("manifests", Answer(200, headers, MANIFEST))
    done = lab.run("pull", f"{lab.evil.host}/{NAME}@{wanted}")
    lab.check_failed(done, 4)
    assert wanted in done.error


@pytest.mark.promise("R3")
def test_a_tag_that_moves_while_it_is_pulled_stays_what_it_was_first(lab):
    first = lab.serve(manifest())
    later = json.dumps(manifest(layers=[])).encode()
    answers = [Answer(200, {"Content-Type": OCI_MANIFEST}, MANIFEST)]
    lab.evil.on("GET", "manifests/v1", lambda seen: answers.pop() if answers else Answer(200, {}, later))
    done = lab.pull()
    assert done.exit_code == 0
    assert done.stdout.strip() == first["digest"]
    assert str(lab.layout.resolve(Reference.parse(lab.reference)).digest) == first["digest"]


def interrupted(lab):
    """Let a first pull break off in the middle of the blob, and stay so."""
    lab.serve(manifest())
    cut = verbatim(head(f"Content-Length: {len(WEIGHTS)}") + WEIGHTS[:50_000])
    served = []

    def once(seen):
        served.append(seen)
        return cut if len(served) == 1 else Answer(404)

    lab.evil.on("GET", BLOB, once)
    assert lab.pull().exit_code == 3
    lab.reform()
    (left,) = (lab.layout.root / "ingest").iterdir()
    assert left.read_bytes() == WEIGHTS[:50_000]
    return f"bytes 50000-{len(WEIGHTS) - 1}/{len(WEIGHTS)}"


REST = WEIGHTS[50_000:]
ON_THE_RANGE = {
    "the right rest": (lambda right: Answer(206, {"Content-Range": right}, REST), 0),
    "the whole": (lambda right: Answer(200, {}, WEIGHTS), 0),
    "another whole": (lambda right: Answer(200, {}, FALSE), 4),
    "another whole with a fresh start": (lambda right: Answer(200, {}, FALSE[::-1]), 4),
    "a wrong rest": (lambda right: Answer(206, {"Content-Range": right}, REST[::-1]), 4),
    "another range": (lambda right: Answer(206, {"Content-Range": right.replace("50000", "50001")}, REST[1:]), 1),
    "the first bytes": (lambda right: Answer(206, {"Content-Range": right.replace("50000", "0")}, WEIGHTS), 1),
    "no range at all": (lambda right: Answer(206, {}, REST), 1),
    "a range of another size": (lambda right: Answer(206, {"Content-Range": right + "0"}, REST), 4),
    "a range past the end": (lambda right: Answer(206, {"Content-Range": "bytes 50000-99999999/*"}, REST), 1),
    "a range of nothing": (lambda right: Answer(206, {"Content-Range": "bytes 50000-49999/*"}, b""), 1),
    "several ranges": (lambda right: Answer(206, {"Content-Type": "multipart/byteranges; boundary=x"}, REST), 1),
    "an endless range": (lambda right: forever(head(f"Content-Range: {right}", status="206 x") + REST, bytes(9999)), 0),
    "a range that is refused": (lambda right: Answer(416), 1),
    "a compressed range": (
        lambda right: Answer(206, {"Content-Range": right, "Content-Encoding": "gzip"}, gzip.compress(REST)),
        1,
    ),
}


@pytest.mark.promise("R3", "G1")
@pytest.mark.parametrize("name", ON_THE_RANGE)
def test_going_on_with_a_blob_trusts_no_range(lab, name):
    right = interrupted(lab)
    make, code = ON_THE_RANGE[name]
    lab.evil.on("GET", BLOB, lambda seen: make(right) if "range" in seen.headers or make(right).status == 200 else None)
    done = lab.pull()
    if name == "a wrong rest":
        assert done.exit_code == 0, "what was kept was thrown away, and the blob came whole"
    elif code:
        lab.check_failed(done, code)
    else:
        assert done.exit_code == 0
    lab.check_harmless()
    recovers(lab)


# R4: who gets credentials


def wants_token(realm):
    def scene(lab):
        guarded(lab, realm(lab))
        lab.other.always("GET", "", Answer(body=json.dumps({"token": "stolen"}).encode()))
        lab.other.always("POST", "", Answer(body=json.dumps({"token": "stolen"}).encode()))

    return scene


FOREIGN_REALMS = {
    "another host": lambda lab: f"http://{lab.elsewhere}/token",
    "another host, in upper case": lambda lab: f"HTTP://{lab.elsewhere.upper()}/token",
    "another host, without a scheme": lambda lab: f"//{lab.elsewhere}/token",
    "another host after a user": lambda lab: f"http://{lab.evil.host}@{lab.elsewhere}/token",
    "another host after a user and a password": lambda lab: f"http://127.0.0.1:80@{lab.elsewhere}/token",
    "another host behind a backslash": lambda lab: f"http://{lab.elsewhere}\\@{lab.evil.host}/token",
    "another host after a backslash": lambda lab: f"http://{lab.evil.host}\\\\@{lab.elsewhere}/token",
    "another host before a fragment": lambda lab: f"http://{lab.elsewhere}#@{lab.evil.host}/token",
    "a host that begins like ours": lambda lab: f"http://127.0.0.1.{lab.elsewhere}/token",
    "a host that begins with a dot": lambda lab: f"http://.{lab.elsewhere}/token",
    "a number as host": lambda lab: f"http://2130706433:{lab.other.host.partition(':')[2]}/token",
    "a file": lambda lab: "file:///etc/passwd",
    "ftp": lambda lab: "ftp://127.0.0.1/token",
    "gopher": lambda lab: "gopher://127.0.0.1:25/_HELO",
    "a host that is cut off": lambda lab: "http://[",
    "a port that is none": lambda lab: "http://127.0.0.1:99999/token",
    "a long host": lambda lab: f"http://{'a' * 300}.{lab.elsewhere}/token",
}


@pytest.mark.promise("R4", "G1")
@pytest.mark.parametrize("identity", [False, True])
@pytest.mark.parametrize("name", FOREIGN_REALMS)
def test_a_realm_elsewhere_gets_no_credentials(lab, name, identity):
    if identity:
        lab.log_in(identitytoken=IDENTITY)
    lab.serve(manifest())
    wants_token(FOREIGN_REALMS[name])(lab)
    done = lab.pull()
    lab.check_failed(done, (1, 5))
    assert lab.other.seen == []
    assert {seen.authorization for seen in lab.evil.seen} == {None}


@pytest.mark.promise("R4")
def test_a_realm_on_the_same_host_gets_them_and_no_other_request_does(lab):
    lab.serve(manifest())
    guarded(lab, f"http://{lab.evil.host}/token")
    lab.answer("^/token", Answer(body=json.dumps({"token": TOKEN}).encode()))
    assert lab.pull().exit_code == 0
    lab.check_harmless()
    given = {seen.path for seen in lab.evil.seen if seen.authorization == BASIC}
    assert given == {"/token"}


@pytest.mark.promise("R4")
def test_an_identity_token_goes_to_the_realm_only_and_in_its_form_only(lab):
    lab.log_in(identitytoken=IDENTITY)
    lab.serve(manifest())
    guarded(lab, f"http://{lab.evil.host}/token")
    lab.answer("^/token", Answer(body=json.dumps({"access_token": TOKEN}).encode()), "POST")
    assert lab.pull().exit_code == 0
    lab.check_harmless()
    holders = [seen for seen in lab.evil.seen if IDENTITY.encode() in seen.body]
    assert [(seen.method, seen.path) for seen in holders] == [("POST", "/token")]
    assert not any(has_secret(seen, but=("authorization",), in_body=False) for seen in lab.evil.seen)


@pytest.mark.promise("R4", "G1")
@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_a_token_server_that_repeats_the_secret_does_not_get_it_shown(lab, status):
    lab.serve(manifest())
    guarded(lab, f"http://{lab.evil.host}/token")
    echo = {"errors": [{"code": "DENIED", "message": f"{IDENTITY} {PASSWORD} {BASIC} {USER}:{PASSWORD}"}]}
    for method in ("GET", "POST"):
        lab.answer("^/token", Answer(status, body=json.dumps(echo).encode()), method)
    done = lab.pull()
    for secret in (PASSWORD, BASIC.removeprefix("Basic ")):
        assert secret not in done.stderr
    lab.log_in(identitytoken=IDENTITY)
    assert IDENTITY not in lab.pull().stderr


@pytest.mark.promise("R4", "R7", "G1")
@pytest.mark.parametrize(
    "challenges",
    [
        ['Basic realm="x"'],
        ['Basic realm="x", Basic realm="y"'],
        ["Bearer"],
        ['Bearer realm=""'],
        ["Negotiate", "NTLM", "Digest"],
        ['Basic realm="1"', "Negotiate", 'Basic realm="2"', "Bearer"],
        ["Basic " * 10_000],
        ['Basic realm="' + "\\" * 30_001],
        ["," * 60_000],
        ["a=" * 30_000],
        ["\xff\xfe"],
        [""],
    ],
)
def test_challenges_without_end_come_to_an_end(lab, challenges):
    lab.serve(manifest())
    count = iter(range(10**6))
    lab.evil.on(
        "GET", "^/v2/", lambda seen: Answer(401, {"WWW-Authenticate": challenges[next(count) % len(challenges)]})
    )
    both_fail(lab, "log in", 5)
    assert len(lab.evil.seen) <= 4


@pytest.mark.promise("R4", "R7", "G1")
def test_a_realm_that_changes_every_time_is_asked_once(lab):
    lab.serve(manifest())
    count = iter(range(10**6))
    lab.evil.on("GET", "^/v2/", lambda seen: challenge(f"http://{lab.evil.host}/token/{next(count)}"))
    lab.answer("^/token", Answer(body=json.dumps({"token": TOKEN, "expires_in": 1}).encode()))
    done = lab.pull()
    lab.check_failed(done, 5)
    assert len(lab.evil.requests("GET", "^/token")) == 1


@pytest.mark.promise("R4", "G1")
@pytest.mark.parametrize("more", [{"expires_in": 1e308}, {"expires_in": -1}, {"expires_in": "x"}, {"issued_at": 7}])
@pytest.mark.parametrize("date", ["", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2020 00:00 +9" * 9])
def test_a_token_that_lives_an_odd_time_is_a_token(lab, more, date):
    lab.serve(manifest())
    guarded(lab, f"http://{lab.evil.host}/token")
    body = json.dumps({"token": TOKEN, "issued_at": "2020-01-01T00:00:00+00:00", **more}).encode()
    lab.answer("^/token", verbatim(head(f"Content-Length: {len(body)}", f"Date: {date}") + body))
    assert lab.pull().exit_code == 0
    lab.check_harmless()


# R5: redirects


def storage_has_it(lab):
    lab.other.add(WEIGHTS)
    return f"/v2/x/blobs/{Digest.of(WEIGHTS)}"


@pytest.mark.promise("R5")
@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["host", "elsewhere"])
def test_a_redirect_to_another_port_or_host_takes_no_authorization_along(lab, auth, status, where):
    lab.serve(manifest())
    path = storage_has_it(lab)
    if auth == "basic":
        basic = Answer(401, {"WWW-Authenticate": "Basic"})
        lab.evil.on("GET", "^/v2/", lambda seen: None if seen.authorization else basic)
    else:
        guarded(lab, f"http://{lab.evil.host}/token")
        lab.answer("^/token", Answer(body=json.dumps({"token": TOKEN}).encode()))
    target = lab.other.host if where == "host" else lab.elsewhere
    lab.answer(BLOB, redirect(f"http://{target}{path}?signature=s", status))
    assert lab.pull().exit_code == 0
    lab.check_harmless()
    assert len(lab.other.seen) == 1
    sent = [seen.authorization for seen in lab.evil.requests("GET", BLOB)]
    assert sent[-1] == (BASIC if auth == "basic" else f"Bearer {TOKEN}")


@pytest.mark.promise("R5", "G1")
def test_a_demand_for_credentials_from_elsewhere_is_not_answered(lab):
    lab.serve(manifest())
    lab.answer(BLOB, redirect(f"http://{lab.elsewhere}/blob"))
    for demand in ('Basic realm="x"', f'Bearer realm="http://{lab.evil.host}/token"'):
        lab.other.always("GET", "/blob", Answer(401, {"WWW-Authenticate": demand}))
        both_fail(lab, "401", 1)
        lab.other._rules.clear()
    assert lab.other.seen


NOWHERE = {
    "a file": "file:///etc/passwd",
    "a file on a host": "file://localhost/etc/passwd",
    "data": "data:text/plain,x",
    "javascript": "javascript:alert(1)",
    "ftp": "ftp://localhost/x",
    "a user": f"http://{USER}:secret@localhost/x",
    "nothing": "http://",
    "half a host": "http://[::",
    "a dot": "http://.localhost:1/x",
    "a star": "http://*.localhost:1/x",
    "an empty label": "http://a..b:1/x",
    "a long label": f"http://{'a' * 64}.localhost:1/x",
    "a long host": f"http://{'a.' * 200}localhost:1/x",
    "letters of another kind": "http://l\xf6calhost\xb2:1/x",
    "a port that is none": "http://localhost:99999/x",
    "a space": "http://localhost:1/a b",
    "a tab": "http://localhost:1/a\tb",
    "a very long one": "http://localhost:1/" + "x" * 60_000,
    "a backslash": "http:\\\\localhost:1\\x",
    "three slashes": "http:///x",
    "ipv6 with a zone": "http://[fe80::1%25eth9]:1/x",
}


@pytest.mark.promise("R5", "G1")
@pytest.mark.parametrize("what", ["manifests/v1", BLOB])
@pytest.mark.parametrize("name", NOWHERE)
def test_a_redirect_to_nowhere_is_an_error_of_the_registrys(lab, name, what):
    lab.serve(manifest())
    lab.answer(what, verbatim(head("Location: " + NOWHERE[name], "Content-Length: 0", status="307 x")))
    both_fail(lab, "http|cannot reach|URL|404", (1, 3))


@pytest.mark.promise("R5", "G1")
def test_redirects_from_https_to_http_are_refused(lab, tls_fake, ca_file):
    path = storage_has_it(lab)
    lab.evil = tls_fake
    lab.log_in()
    lab.serve(manifest())
    lab.answer(BLOB, redirect(f"http://{lab.elsewhere}{path}"))
    done = lab.run("pull", lab.reference, "--ca-file", ca_file)
    lab.check_failed(done, 1)
    assert "from https to http, which is refused" in done.error
    assert lab.other.seen == []


@pytest.mark.promise("R5", "G1")
@pytest.mark.parametrize(("hops", "arrives"), [(5, True), (6, False)])
def test_five_redirects_are_followed_and_not_a_sixth(lab, hops, arrives):
    lab.serve(manifest())
    path = storage_has_it(lab)
    for hop in range(1, hops):
        to = f"http://{lab.elsewhere}/hop/{hop + 1}" if hop < hops - 1 else f"http://{lab.elsewhere}{path}"
        lab.other.always("GET", f"^/hop/{hop}$", redirect(to))
    lab.answer(BLOB, redirect(f"http://{lab.elsewhere}/hop/1"))
    done = lab.pull()
    if arrives:
        assert done.exit_code == 0
        lab.check_harmless()
    else:
        lab.check_failed(done, 1)
        assert "redirects more than 5 times" in done.error


@pytest.mark.promise("R5", "G1")
@pytest.mark.parametrize("what", ["manifests/v1", "blobs"])
def test_a_loop_of_redirects_ends(lab, what):
    lab.serve(manifest())
    lab.answer(what, redirect(f"http://{lab.other.host}/back"))
    lab.other.on("GET", "/back", lambda seen: redirect(f"http://{lab.evil.host}/v2/{NAME}/{what}/x"))
    both_fail(lab, "redirects more than 5 times", 1)


def store_pushed(lab):
    """Let the user's store have an artifact to push to the registry."""
    lab.serve(manifest())
    assert lab.pull().exit_code == 0
    lab.evil.manifests.clear()
    lab.evil.blobs.clear()
    lab.evil.seen.clear()


def push(lab):
    return lab.run("push", lab.reference)


@pytest.mark.promise("R5")
@pytest.mark.parametrize("where", ["host", "elsewhere"])
def test_an_upload_to_another_origin_carries_no_authorization(lab, where):
    store_pushed(lab)
    basic = Answer(401, {"WWW-Authenticate": "Basic"})
    lab.evil.on("POST", "^/v2/", lambda seen: None if seen.authorization else basic)
    target = lab.other.host if where == "host" else lab.elsewhere
    lab.answer("uploads", Answer(202, {"Location": f"http://{target}/bucket/1?signature=s"}), "POST")
    got = []

    def take(seen):
        got.append(seen.body)
        lab.evil.add(seen.body)
        return Answer(201)

    lab.other.on("PUT", "/bucket", take)
    done = push(lab)
    assert done.exit_code == 0, done
    lab.check_harmless()
    assert sorted(got, key=len) == [CONFIG, WEIGHTS]
    assert BASIC in {seen.authorization for seen in lab.evil.seen}


@pytest.mark.promise("R5", "R4", "G1")
@pytest.mark.parametrize("name", ["asks for more", *NOWHERE])
def test_an_upload_sent_nowhere_fails_and_tells_no_secret(lab, name):
    store_pushed(lab)
    location = NOWHERE.get(name, f"http://{lab.elsewhere}/bucket/1")
    answer = verbatim(head(f"Location: {location}", "Content-Length: 0", status="202 Accepted"))
    lab.answer("uploads", answer, "POST")
    for method in ("PUT", "PATCH", "GET", "DELETE"):
        lab.other.always(method, "", challenge(f"http://{lab.evil.host}/token"))
    done = push(lab)
    assert done.exit_code in (1, 3, 5), done
    assert MARK not in done.stderr
    lab.check_harmless()


# R6: what is not even looked at


@pytest.mark.promise("R6")
def test_urls_and_data_in_descriptors_are_never_followed(lab):
    urls = [f"http://{lab.elsewhere}/weights", "file:///etc/passwd"]
    more = {"urls": urls, "data": "d3Jvbmc="}
    foreign, config = layer() | more, descriptor(CONFIG, CONFIG_TYPE) | more
    lab.serve(manifest(layers=[foreign], config=config))
    lab.evil.on("GET", "blobs", Answer(404))
    lab.check_failed(lab.pull(), 3)
    assert lab.pull().exit_code == 0
    assert lab.fetch().exit_code == 0
    assert lab.other.seen == []
    assert (lab.out / "weights.bin").read_bytes() == WEIGHTS


@pytest.mark.promise("R6")
def test_cookies_are_not_kept(lab):
    cookies = ["Set-Cookie: a=b", "Set-Cookie: c=d; Domain=127.0.0.1; Path=/", f"Content-Length: {len(MANIFEST)}"]
    lab.serve(manifest())
    lab.answer("manifests/v1", verbatim(head(TYPED, *cookies) + MANIFEST))
    assert lab.pull().exit_code == 0
    assert len(lab.evil.seen) > 1
    assert all("cookie" not in seen.headers for seen in lab.evil.seen)


@pytest.mark.promise("R6")
@pytest.mark.parametrize("logged_in", [False, True])
def test_a_netrc_is_not_read(lab, logged_in):
    if not logged_in:
        lab.log_in(auth="")
    lab.serve(manifest())
    path = storage_has_it(lab)
    lab.answer(BLOB, redirect(f"http://{lab.elsewhere}{path}"))
    assert lab.pull().exit_code == 0
    lab.check_harmless()
    assert {seen.authorization for seen in (*lab.evil.seen, *lab.other.seen)} == {None}
    refused = Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})
    lab.answer("manifests/v2", refused)
    lab.run("pull", lab.reference.replace(":v1", ":v2"))
    lab.check_secrets()
    assert ({seen.authorization for seen in lab.evil.seen} == {None, BASIC}) is logged_in


# R7: what is tried again


@pytest.mark.promise("R7", "G1")
@pytest.mark.parametrize("status", [400, 402, 403, 404, 405, 406, 409, 410, 418, 421, 422, 425, 451, 499])
def test_other_refusals_than_408_and_429_are_final(lab, status):
    lab.answer("manifests", Answer(status))
    lab.check_failed(lab.pull())
    assert len(lab.evil.seen) == 1


@pytest.mark.promise("R7", "G1")
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 520, 599])
def test_what_may_pass_is_tried_again_so_many_times_and_the_pause_is_shown(lab, status):
    lab.answer("blobs", Answer(status))
    lab.serve(manifest())
    done = lab.pull()
    lab.check_failed(done, 1)
    assert max(len(lab.evil.requests(m, BLOB)) for m in ("GET", "HEAD")) == 2


@pytest.mark.promise("R7", "R8", "G1")
@pytest.mark.parametrize(
    "wait",
    [
        "100000",
        "99999999999999999999",
        "-5",
        "1e9",
        "soon",
        "NaN",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2020 99999999999999999999:00:00 GMT",
        "Mon, 01 Jan 2020 00:00:00 +99999999999999",
        "\xb2",
        "x" * 60_000,
        "",
    ],
)
def test_a_registry_cannot_make_anybody_wait_as_long_as_it_likes(lab, monkeypatch, wait):
    pauses = []
    hurry(monkeypatch, pauses.append)
    lab.answer("manifests", Answer(503, {"Retry-After": wait}))
    both_fail(lab, "503", 1)
    assert all(pause <= 1.0 for pause in pauses)


@pytest.mark.promise("R7", "R8", "G1")
@pytest.mark.parametrize("status", [100, 101, 103, 199, 300, 304, 305, 399, 600, 999])
@pytest.mark.parametrize("act", ["pull", "push"])
def test_an_answer_of_no_known_meaning_is_no_success(lab, status, act):
    store_pushed(lab)
    answer = verbatim(head("Content-Length: 0", status=f"{status} x"))
    if act == "pull":
        lab.answer("manifests/v2", answer)
        done = lab.run("pull", lab.reference.replace(":v1", ":v2"))
    else:
        lab.answer("manifests", answer, "PUT")
        done = push(lab)
    assert done.exit_code == 1, done
    assert done.stdout == ""
    lab.check_harmless()


# R8: nothing hangs

DRIPS = {
    "a status line": ("manifests/v1", dripping(b"HTTP/1.1 200", b" ")),
    "a header": ("manifests/v1", dripping(b"HTTP/1.1 200 OK\r\nX-A: ", b"x")),
    "headers": ("manifests/v1", dripping(b"HTTP/1.1 200 OK\r\n", b"X-A: x\r\n")),
    "interim answers": ("manifests/v1", dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
    "a manifest": ("manifests/v1", dripping(head(TYPED, "Content-Length: 4000"), b" ")),
    "a manifest in chunks": ("manifests/v1", dripping(head(TYPED, "Transfer-Encoding: chunked"), b"1\r\n \r\n")),
    "a manifest without a length": ("manifests/v1", dripping(head(TYPED, "Connection: close"), b" ")),
    "a blob": (BLOB, dripping(head(f"Content-Length: {len(WEIGHTS)}"), b"\0")),
    "a blob in chunks": (BLOB, dripping(head("Transfer-Encoding: chunked"), b"1\r\n\0\r\n")),
    "the size of a chunk": (BLOB, dripping(head("Transfer-Encoding: chunked"), b"0")),
    "the extension of a chunk": (BLOB, dripping(head("Transfer-Encoding: chunked") + b"5;", b"x")),
    "a trailer": (BLOB, dripping(chunked(WEIGHTS[:-1])[:-2] + b"X: ", b"x")),
    "trailers": (BLOB, dripping(chunked(WEIGHTS[:-1])[:-2], b"X: x\r\n")),
    "a blob without a length": (BLOB, dripping(head("Connection: close"), b"\0")),
    "silence": ("manifests/v1", dripping(b"", b"")),
    "silence after the head": (BLOB, dripping(head(f"Content-Length: {len(WEIGHTS)}"), b"")),
}


@pytest.mark.promise("R8", "G1")
@pytest.mark.parametrize("name", DRIPS)
def test_what_drips_is_given_up(lab, monkeypatch, name):
    hurry(monkeypatch, stall_timeout=0.3, slowest_rate=4096)
    path, answer = DRIPS[name]
    lab.serve(manifest())
    lab.answer(path, answer)
    began = time.monotonic()
    done = lab.pull()
    lab.check_failed(done, 1)
    assert re.search(r"in time|stalled|bytes per second|broke off", done.error)
    assert time.monotonic() - began < 60  # and not the hours that all of it would take


@pytest.mark.promise("R8", "G1")
@pytest.mark.parametrize("what", ["a token", "a list of tags", "a redirect"])
def test_what_drips_on_the_way_is_given_up_as_well(lab, monkeypatch, what):
    hurry(monkeypatch, stall_timeout=0.3, slowest_rate=4096)
    drip = dripping(head("Content-Length: 4000"), b" ")
    lab.serve(manifest())
    if what == "a token":
        guarded(lab, f"http://{lab.evil.host}/token")
        lab.answer("^/token", drip)
        done = lab.pull()
    elif what == "a list of tags":
        lab.answer("tags/list", drip)
        done = lab.run("ls", "--remote", f"{lab.evil.host}/{NAME}")
    else:
        lab.answer("manifests/v1", redirect(f"http://{lab.elsewhere}/drip"))
        lab.other.always("GET", "/drip", drip)
        done = lab.pull()
    lab.check_failed(done, 1)


@pytest.mark.promise("R8", "G1")
@pytest.mark.parametrize("status", ["400 x", "307 x"])
def test_a_failure_or_a_redirect_whose_body_drips_is_not_waited_for(lab, monkeypatch, status):
    hurry(monkeypatch, stall_timeout=0.3, slowest_rate=4096)
    location = "Location: /v2/elsewhere/manifests/x"
    lab.answer("manifests/v1", dripping(head(location, "Content-Length: 4000", status=status), b" "))
    lab.check_failed(lab.pull(), (1, 3))


@pytest.mark.promise("R8", "G1")
def test_a_blob_that_comes_by_a_few_bytes_a_connection_is_given_up(lab):
    """Each connection brings a little and breaks off, so that there is always progress."""
    lab.serve(manifest())

    def few(seen):
        start = int(re.search(r"(\d+)-", seen.headers.get("range", "0-"))[1])
        status = "206 x" if start else "200 OK"
        extent = f"Content-Range: bytes {start}-{len(WEIGHTS) - 1}/{len(WEIGHTS)}"
        return verbatim(head(extent, f"Content-Length: {len(WEIGHTS) - start}", status=status) + WEIGHTS[start:][:7])

    lab.evil.on("GET", BLOB, few)
    done = lab.pull()
    lab.check_failed(done, 1)
    assert len(lab.evil.requests("GET", BLOB)) == Backoff().attempts


HEADS = {
    "100 MB of headers": forever(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"x" * 60_000 + b"\r\n"),
    "one header without end": forever(b"HTTP/1.1 200 OK\r\nX-A: ", b"x" * 65536),
    "a status line without end": forever(b"HTTP/1.1 200 ", b"x" * 65536),
    "10,000 headers": verbatim(b"HTTP/1.1 200 OK\r\n" + b"X-A: x\r\n" * 10_000 + b"\r\n" + MANIFEST),
    "interim answers without end": forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "HTTP/0.9": verbatim(MANIFEST),
    "HTTP/0.9 in words": verbatim(b"HTTP/0.9 200 OK\r\n\r\n" + MANIFEST[:5]),
    "HTTP/9.9": verbatim(b"HTTP/9.9 200 OK\r\n\r\n" + MANIFEST[:5]),
    "no HTTP": verbatim(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "a status of letters": verbatim(b"HTTP/1.1 abc OK\r\n\r\n"),
    "a negative status": verbatim(b"HTTP/1.1 -200 OK\r\n\r\n"),
    "a status of five digits": verbatim(b"HTTP/1.1 20000 OK\r\n\r\n"),
    "a header without a colon": verbatim(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n" + MANIFEST[:9]),
    "NULs": verbatim(b"\0" * 100_000),
    "nothing": verbatim(b""),
    "a bare newline": verbatim(b"\n"),
    "the head alone": verbatim(b"HTTP/1.1 200 OK\r\n"),
}


@pytest.mark.promise("R8", "G1")
@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_is_none_is_an_error(lab, monkeypatch, name):
    hurry(monkeypatch, stall_timeout=1.0)
    lab.answer("manifests/v1", HEADS[name])
    both_fail(lab, "cannot reach|broke off|in time|JSON", 1)


@pytest.mark.promise("R8", "G1")
def test_endless_bodies_of_failures_are_not_read(lab):
    for status in (400, 404, 500):
        lab.answer("manifests", Answer(status, {}, b"{", endless=True))
        both_fail(lab, str(status), (1, 3))
        lab.reform()


UPLOADS = {
    "a session that keeps nothing": ("PATCH", lambda seen: Answer(202, {"Location": seen.path, "Range": "0-0"})),
    "a session that has more than was sent": (
        "PATCH",
        lambda seen: Answer(202, {"Location": seen.path, "Range": f"0-{2**62}"}),
    ),
    "a session with no range": ("PATCH", lambda seen: Answer(202, {"Location": seen.path, "Range": "x"})),
    "a session with no location": ("PATCH", lambda seen: Answer(202)),
    "chunks that are always too large": ("PATCH", lambda seen: Answer(413)),
    "ranges that never fit": ("PATCH", lambda seen: Answer(416)),
    "a blob that is stored as another": ("PUT", lambda seen: Answer(201, {"Docker-Content-Digest": f"sha256:{HEX}"})),
    "a digest that is always wrong": (
        "PUT",
        lambda seen: Answer(400, body=b'{"errors":[{"code":"DIGEST_INVALID"}]}'),
    ),
    "chunks of a size without bounds": (
        "POST",
        lambda seen: Answer(500, {"Location": "/x", "OCI-Chunk-Min-Length": "9" * 18}),
    ),
}


@pytest.mark.promise("R8", "G1")
@pytest.mark.parametrize("name", UPLOADS)
def test_an_upload_that_leads_nowhere_ends(lab, monkeypatch, name):
    hurry(monkeypatch, chunk_size=10_000)
    store_pushed(lab)
    method, answer = UPLOADS[name]
    lab.evil.on(method, "uploads", answer)
    done = push(lab)
    assert done.exit_code in (1, 3, 4), done
    lab.check_failed(done)
    assert len(lab.evil.seen) < 100
    assert lab.evil.manifests == {}


# R9: listings


def listing(lab, answer):
    lab.evil.on("GET", "tags/list", answer)
    return lab.run("ls", "--remote", f"{lab.evil.host}/{NAME}")


def page(tags, link):
    return Answer(200, {"Link": f'<{link}>; rel="next"'}, json.dumps({"tags": tags}).encode())


LINKS = {
    "itself": lambda seen, n: page(["v1"], "/v2/org/model/tags/list"),
    "itself, differently": lambda seen, n: page(["v1"], f"/v2/org/model/tags/list?n={n}"),
    "two in turn": lambda seen, n: page([["v1"], ["v2"]][n % 2], f"/v2/org/model/tags/list?n={n % 2}"),
    "empty pages": lambda seen, n: page([], f"/v2/org/model/tags/list?n={n}"),
    "the same tag many times": lambda seen, n: page(["v1"] * 1000, f"/v2/org/model/tags/list?n={n}"),
}


@pytest.mark.promise("R9", "R8")
@pytest.mark.parametrize("name", LINKS)
def test_a_listing_that_goes_round_ends(lab, name):
    lab.serve(manifest())
    lab.serve(manifest(), tag="v2")
    count = iter(range(10**6))
    done = listing(lab, lambda seen: LINKS[name](seen, next(count)))
    assert done.exit_code == 0
    assert len(lab.evil.requests("GET", "tags/list")) <= 3
    lab.check_harmless()


@pytest.mark.promise("R9", "R8", "G1")
def test_a_listing_of_ever_new_tags_ends(lab):
    count = iter(range(10**6))

    def answer(seen):
        n = next(count)
        return page([f"t{n}-{k}" for k in range(150_000)], f"/v2/org/model/tags/list?last={n}")

    done = listing(lab, answer)
    lab.check_failed(done, 1)
    assert "more than 1000000 tags" in done.error


BAD_LINKS = ["http://[", "file:///etc/passwd", "http://{elsewhere}/v2/x", "//{elsewhere}/v2/x", "http://u:p@{host}/x"]


@pytest.mark.promise("R9", "R4", "G1")
@pytest.mark.parametrize("link", BAD_LINKS)
def test_a_listing_that_goes_on_elsewhere_is_refused(lab, link):
    link = link.format(elsewhere=lab.elsewhere, host=lab.evil.host)
    done = listing(lab, lambda seen: page(["v1"], link))
    lab.check_failed(done, 1)
    assert lab.other.seen == []


@pytest.mark.promise("R9", "G1")
@pytest.mark.parametrize("tag", ["../x", "a\nb", "", "x" * 129, "\x1b[2J", "-v", 7, None, ["v1"], "ü"])
def test_what_is_no_tag_is_not_listed(lab, tag):
    done = listing(lab, lambda seen: Answer(body=json.dumps({"tags": ["v1", tag]}).encode()))
    lab.check_failed(done, 1)
    assert "not a tag" in done.error


@pytest.mark.promise("R9", "G1")
def test_an_endless_list_of_tags_is_not_read_to_its_end(lab):
    done = listing(lab, lambda seen: forever(head("Connection: close") + b'{"tags":[', b'"v1",' * 9999))
    lab.check_failed(done, 1)
    assert "more than" in done.error


@pytest.mark.promise("G1", "R2")
def test_a_broken_artifact_among_others_is_told_of_and_the_others_are_listed(lab):
    lab.serve(manifest())
    lab.serve(BYTES["deep"], tag="v2")
    lab.serve(SHAPES["a type on two lines"], tag="v3")
    done = listing(lab, lambda seen: Answer(body=b'{"tags": ["v1"]}'))
    assert done.exit_code == 0
    assert "v1" in done.stdout
    lab.check_harmless()


# All of it at once


@pytest.mark.promise("R4", "R5", "R6")
def test_nothing_the_registry_asks_for_gives_a_secret_to_another_server(lab):
    """A registry that names the other server wherever something can be named."""
    there = f"http://{lab.elsewhere}"
    lab.serve(manifest(layers=[layer(urls=[f"{there}/a"])], annotations={"org.opencontainers.image.source": there}))
    lab.other.add(WEIGHTS)
    lab.other.always("GET", "^/anything", Answer(401, {"WWW-Authenticate": f'Basic, Bearer realm="{there}/token"'}))
    headers = {
        "Refresh": f"0; url={there}/r",
        "Link": f'<{there}/l>; rel="next"',
        "Content-Location": f"{there}/c",
        "WWW-Authenticate": f'Bearer realm="{there}/token"',
        "Set-Cookie": "session=1; Domain=localhost",
        "Proxy-Authenticate": "Basic",
        "Location": f"{there}/anything",
    }
    for status in (200, 201, 202, 300, 301, 302, 307, 308, 400, 401, 403, 407, 426, 429, 503):
        lab.evil._rules.clear()
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            lab.answer("", Answer(status, headers, MANIFEST), method)
        for command in (
            ["pull", lab.reference],
            ["fetch", lab.reference, "-o", lab.out, "--patterns", "**"],
            ["ls", "--remote", f"{lab.evil.host}/{NAME}"],
            ["inspect", "--remote", lab.reference],
            ["tag", "--remote", lab.reference, lab.reference.replace(":v1", ":v9")],
            ["rm", "--remote", lab.reference],
        ):
            done = lab.run(*command)
            assert MARK not in done.stderr + done.stdout
            assert "fault of modfile's" not in done.stderr
            lab.check_harmless()
    assert lab.other.seen, "it was never gone to, so nothing was shown"
