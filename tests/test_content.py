import pytest

from modfile import errors
from modfile.content import MAX_SIZE, Descriptor, Digest
from modfile.errors import ContentError, InvalidReferenceError
from modfile.reference import Reference

HEX = "0123456789abcdef" * 4
GOOD = {"mediaType": "a/b", "digest": f"sha256:{HEX}", "size": 5}


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha512:{HEX * 2}"])
def test_a_digest_reads_as_it_is_written(text):
    assert str(Digest.parse(text)) == text


@pytest.mark.promise("R1")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"SHA256:{HEX}",
        f"sha512:{HEX}",
        f"md5:{HEX[:32]}",
        f"sha256:{HEX[:-1]}\n",
        f"sha256:{HEX}\n",
        "sha256:../../../../etc/passwd" + "0" * 36,
        f"sha256:{'٣' * 64}",
        f"sha256:{HEX} ",
        None,
        5,
        ["sha256"],
    ],
)
def test_what_is_no_digest_is_refused(text):
    with pytest.raises(ContentError, match="is not a digest"):
        Digest.parse(text)


def test_a_descriptor_reads_as_it_is_written():
    value = {**GOOD, "annotations": {"k": "v"}, "artifactType": "x/y"}
    assert Descriptor.parse(value).to_json() == {
        "mediaType": "a/b",
        "artifactType": "x/y",
        "digest": f"sha256:{HEX}",
        "size": 5,
        "annotations": {"k": "v"},
    }


@pytest.mark.promise("R1")
@pytest.mark.parametrize("size", [0, MAX_SIZE])
def test_sizes_lie_between_0_and_the_largest(size):
    assert Descriptor.parse({**GOOD, "size": size}).size == size


@pytest.mark.promise("R1")
@pytest.mark.parametrize(
    "change",
    [
        {"size": -1},
        {"size": MAX_SIZE + 1},
        {"size": "5"},
        {"size": 5.0},
        {"size": True},
        {"size": None},
        {"mediaType": ""},
        {"mediaType": "ab"},
        {"mediaType": "a/b\r\nX: y"},
        {"mediaType": None},
        {"digest": "sha256:zz"},
        {"annotations": {"k": 1}},
        {"annotations": []},
        {"artifactType": 1},
    ],
)
def test_a_broken_descriptor_is_refused(change):
    with pytest.raises(ContentError):
        Descriptor.parse({**GOOD, **change})


@pytest.mark.parametrize("value", [None, [], "x", 5, {}])
def test_what_is_no_descriptor_is_refused(value):
    with pytest.raises(ContentError):
        Descriptor.parse(value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("minilm", (None, "minilm", "latest", None)),
        ("llm/minilm:v1", (None, "llm/minilm", "v1", None)),
        ("r.io/a/b:v1", ("r.io", "a/b", "v1", None)),
        ("localhost/a", ("localhost", "a", "latest", None)),
        ("localhost:5000/a", ("localhost:5000", "a", "latest", None)),
        ("127.0.0.1:5000/a/b:x", ("127.0.0.1:5000", "a/b", "x", None)),
        ("[::1]:5000/a", ("[::1]:5000", "a", "latest", None)),
        (f"r.io/a@sha256:{HEX}", ("r.io", "a", None, HEX)),
        (f"r.io/a:v1@sha256:{HEX}", ("r.io", "a", "v1", HEX)),
        ("a/b/c/d__e--f.g:T_-.9", (None, "a/b/c/d__e--f.g", "T_-.9", None)),
    ],
)
def test_a_reference_has_its_parts(text, parts):
    reference = Reference.parse(text)
    found = (reference.host, reference.repository, reference.tag, reference.digest and reference.digest.hex)
    assert found == parts
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "@",
        "/",
        "a/",
        "/a",
        "r.io/",
        "r.io//a",
        "r.io/a//b",
        "r.io/../a",
        "r.io/a/..",
        "A",
        "r.io/A/b",
        "a b",
        "a:",
        "a:v 1",
        "a:" + "x" * 129,
        "a:-x",
        "a@",
        "a@sha256:x",
        f"a@md5:{HEX}",
        "http://r.io/a",
        "user:pass@r.io/a",
        "r.io:99999/a",
        "r.io:/a",
        "r_.io/a",
        "r.io/" + "a" * 256,
        "a\n",
        "r.io/a:v1\n",
        "é",
        "-a",
        "a..b",
        "a:b:c",
    ],
)
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(InvalidReferenceError) as caught:
        Reference.parse(text)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_upper_case_is_told_to_be_the_fault():
    with pytest.raises(InvalidReferenceError, match="names are lower case"):
        Reference.parse("r.io/Llama")


def test_exit_codes_are_those_documented():
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.ModfileError)]
    codes = {one.__name__: one.exit_code for one in classes}
    assert {name: code for name, code in codes.items() if code != 1} == {
        "UsageError": 2,
        "InvalidReferenceError": 2,
        "NotFoundError": 3,
        "VerificationError": 4,
        "AccessDeniedError": 5,
    }
