"""ModelScope's endpoints, spoken by the tests' hub, through its client."""

from dataclasses import replace

import pytest

from modfile.content import Digest
from modfile.errors import AccessDeniedError, ContentError, NotFoundError, OriginError, VerificationError
from modfile.origins import find_origin
from tests.hubs.server import Fault
from tests.origins.reading import read


@pytest.fixture
def published(hub, model):
    return hub.add("org/tiny", model)


@pytest.fixture
def origin(settings, published):
    return find_origin("modelscope://org/tiny", settings=settings)


def test_a_listing_tells_every_digest_and_the_commit(origin, model, hub):
    listing = origin.listing()
    expected = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    assert {file.path for file in listing.files} == expected
    assert all(file.digest == Digest.of((model / file.path).read_bytes()) for file in listing.files)
    assert (listing.url, listing.name) == (f"{hub.endpoint}/models/org/tiny", "tiny")
    assert listing.revision == hub.models["org/tiny"].refs["main"]


def test_files_are_read_whole_and_in_parts(origin, model):
    for file in origin.listing().files:
        data = (model / file.path).read_bytes()
        assert read(origin, file.path) == data
        assert read(origin, file.path, 3, 7) == data[3:7]


def test_a_revision_is_found(settings, hub, model):
    hub.add("org/tiny", model, ref="v1.0.0")
    listing = find_origin("modelscope://org/tiny@v1.0.0", settings=settings).listing()
    assert listing.revision == hub.models["org/tiny"].refs["v1.0.0"]


@pytest.mark.promise("R4", "R5")
def test_the_token_never_goes_to_another_host(origin, hub):
    read(origin, "model.safetensors")
    assert any(asked.cdn for asked in hub.asked)
    assert not any("ms_secret" in str(asked) for asked in hub.asked if asked.cdn)
    assert {asked.token for asked in hub.asked if not asked.cdn} == {"ms_secret"}


def test_a_public_model_needs_no_token(settings, published):
    origin = find_origin("modelscope://org/tiny", settings=replace(settings, modelscope_token=None))
    assert read(origin, "model.safetensors")


@pytest.mark.parametrize("text", ["modelscope://org/none", "modelscope://org/tiny@none"])
def test_what_is_not_there_is_named(settings, published, hub, text):
    with pytest.raises(NotFoundError, match=f"{hub.endpoint}/models/org/"):
        find_origin(text, settings=settings).listing()


@pytest.mark.parametrize("token", [None, "ms_unknown", "ms_secret"])
def test_a_model_that_is_not_for_us_is_refused(settings, published, token):
    published.gated = {"ms_other"}
    with pytest.raises(AccessDeniedError, match="MODELSCOPE_API_TOKEN") as refused:
        find_origin("modelscope://org/tiny", settings=replace(settings, modelscope_token=token)).listing()
    assert "ms_" not in str(refused.value).replace("ms_token", "")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.promise("R7")
def test_what_fails_for_now_is_asked_for_again(origin, hub, pauses, status):
    hub.fault("/repo/files", Fault(status=status, headers={"Retry-After": "3"}))
    hub.fault("/repo[?]", Fault(status=status, headers={"Retry-After": "5"}))
    assert read(origin, "config.json")
    assert len(pauses) == 2
    assert pauses[0] >= 3
    assert pauses[1] >= 5


def test_a_file_with_other_bytes_than_listed_is_of_another_size_or_digest(origin, model, hub):
    file = next(file for file in origin.listing().files if file.path == "config.json")
    (model / "config.json").write_bytes(b"{}")
    with pytest.raises(VerificationError, match=r"config\.json"), origin.open(replace(file, size=99)) as reader:
        reader.read()


GOOD = {"Path": "a.json", "Size": 2, "Type": "blob", "Sha256": "0" * 64}


@pytest.mark.promise("O1")
@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "no files"),
        ([{**GOOD, "Type": "tree"}], "no files"),
        ([{**GOOD, "Path": "../escape"}], "'..' segment"),
        ([{**GOOD, "Path": "/etc/passwd"}], "absolute"),
        ([{**GOOD, "Path": ""}], "empty"),
        ([{**GOOD, "Size": -1}], "size"),
        ([{**GOOD, "Size": 2**63}], "size"),
        ([{**GOOD, "Size": "many"}], "list of files"),
        ([{**GOOD, "Sha256": "xyz"}], "digest"),
        ([GOOD, GOOD], "there twice"),
        (["a.json"], "list of files"),
        ([{**GOOD, "Path": f"{number}.json"} for number in range(3000)], "3,000 files"),
    ],
    ids=range(12),
)
@pytest.mark.promise("R1", "W1")
def test_a_hostile_listing_is_refused(origin, published, entries, words):
    published.siblings = entries
    with pytest.raises(ContentError) as refused:
        origin.listing()
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"Data": 3}', b'{"Data": {"Files": 3}}'])
def test_an_answer_that_is_no_listing_is_refused(origin, hub, body):
    hub.fault("/repo/files", Fault(body=body), times=None)
    with pytest.raises((ContentError, OriginError)) as refused:
        origin.listing()
    assert "\n" not in str(refused.value)


def test_without_a_commit_there_is_no_revision(origin, hub, published):
    hub.fault("/repo/files", Fault(body=b'{"Data": {"Files": [], "LatestCommitter": {"Id": ""}}}'))
    assert origin.listing().revision == ""
    assert read(origin, "config.json")


def test_a_hub_that_is_not_there_is_an_error(one_try):
    settings = replace(one_try, modelscope_endpoint="http://127.0.0.1:9")
    with pytest.raises(OriginError, match="cannot reach"):
        find_origin("modelscope://org/tiny", settings=settings).listing()
