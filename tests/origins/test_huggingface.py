"""Hugging Face's endpoints, spoken by the tests' hub, through huggingface_hub."""

import json
import time
from dataclasses import replace

import pytest

from modfile.content import Digest
from modfile.errors import (
    AccessDeniedError,
    ConnectionLostError,
    ContentError,
    NotFoundError,
    OriginError,
    UsageError,
    VerificationError,
)
from modfile.origins import OriginFile, find_origin
from tests.hubs.server import Fault
from tests.origins.reading import read


@pytest.fixture
def published(hub, model):
    return hub.add("org/tiny", model)


@pytest.fixture
def origin(settings, published):
    return find_origin("hf://org/tiny", settings=settings)


def test_a_listing_tells_files_commit_and_card(origin, model, hub):
    listing = origin.listing()
    assert [file.path for file in listing.files] == [
        "Modelfile", "README.md", "config.json", "data/train.csv", "model.safetensors", "run.py",
    ]  # fmt: skip
    assert all(file.size == (model / file.path).stat().st_size for file in listing.files)
    weights = (model / "model.safetensors").read_bytes()
    digests = {file.path: file.digest for file in listing.files if file.digest}
    assert digests == {"model.safetensors": Digest.of(weights)}
    assert (listing.url, listing.name) == (f"{hub.endpoint}/org/tiny", "tiny")
    assert (listing.licenses, listing.base_models) == (("apache-2.0",), ("org/base",))
    assert listing.revision == hub.models["org/tiny"].refs["main"]


def test_a_listing_is_asked_for_once(origin, hub):
    assert origin.listing() is origin.listing()
    assert len(hub.asked) == 1


def test_files_are_read_whole_and_in_parts(origin, model):
    for file in origin.listing().files:
        data = (model / file.path).read_bytes()
        assert read(origin, file.path) == data
        assert read(origin, file.path, 3) == data[3:]
        assert read(origin, file.path, 3, 7) == data[3:7]
        assert read(origin, file.path, 0, file.size + 10) == data
        assert read(origin, file.path, file.size) == read(origin, file.path, 5, 5) == b""


def test_no_more_is_asked_for_than_is_wanted(origin, hub):
    assert len(read(origin, "model.safetensors", 8, 1000)) == 992
    assert hub.bytes_given == 992


def test_a_server_without_ranges_is_read_past_what_is_not_wanted(origin, model, hub):
    hub.fault("/cdn/", Fault(whole=True))
    assert read(origin, "model.safetensors", 100, 200) == (model / "model.safetensors").read_bytes()[100:200]


def test_a_revision_is_pinned_to_its_commit(origin, model, hub):
    before = (model / "config.json").read_bytes()
    commit = origin.listing().revision
    (model / "config.json").rename(model / "old.json")  # the hub reads the files where they are
    old = hub.models["org/tiny"].revisions[commit].files
    old["config.json"] = replace(old["config.json"], place=model / "old.json")
    (model / "config.json").write_text("{}")
    hub.add("org/tiny", model)
    assert read(origin, "config.json") == before
    resolved = {asked.path for asked in hub.asked if "/resolve/" in asked.path}
    assert all(f"/resolve/{commit}/" in path for path in resolved)


@pytest.mark.parametrize("name", ["v1.0", "refs/pr/1"])
def test_a_branch_or_tag_is_found(settings, hub, model, name):
    published = hub.add("org/tiny", model, ref=name)
    assert find_origin(f"hf://org/tiny@{name}", settings=settings).listing().revision == published.refs[name]


def test_a_public_model_needs_no_token(settings, published):
    origin = find_origin("hf://org/tiny", settings=replace(settings, hf_token=None))
    assert read(origin, "config.json")
    assert read(origin, "model.safetensors")


def test_the_client_finds_a_token_if_none_is_given(settings, published, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    published.private = True
    origin = find_origin("hf://org/tiny", settings=replace(settings, hf_token=None))
    assert read(origin, "config.json")


@pytest.mark.promise("R4", "R5")
def test_the_token_never_goes_to_another_host(origin, hub):
    read(origin, "model.safetensors")
    read(origin, "config.json")
    ours = [asked for asked in hub.asked if not asked.cdn]
    others = [asked for asked in hub.asked if asked.cdn]
    assert {asked.token for asked in ours} == {"hf_secret"}
    assert others
    assert not any("hf_secret" in str(asked) for asked in others)


def test_the_token_stays_when_the_listing_is_redirected(origin, hub):
    hub.fault("/api/models", Fault(status=307, headers={"Location": f"{hub.cdn}/api/models/org/tiny"}))
    with pytest.raises((NotFoundError, OriginError, ContentError)):
        origin.listing()
    assert not any("hf_secret" in str(asked) for asked in hub.asked if asked.cdn)


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x", "http://user:pw@127.0.0.1/x", "http://[::1"],
)
@pytest.mark.promise("R5")
def test_a_redirect_to_what_is_no_web_page_is_refused(origin, hub, location):
    hub.fault("/resolve/", Fault(status=302, headers={"Location": location}))
    with pytest.raises(OriginError, match=r"model\.safetensors") as refused:
        read(origin, "model.safetensors")
    assert "pw" not in str(refused.value)


@pytest.mark.promise("R5")
def test_redirects_without_end_are_refused(origin, hub):
    hub.fault("/resolve/", Fault(status=302, headers={"Location": "?again"}), times=None)
    with pytest.raises(OriginError, match="redirects more than"):
        read(origin, "model.safetensors")
    assert len([asked for asked in hub.asked if "/resolve/" in asked.path]) <= 6


# What does not exist, or is not for us


@pytest.mark.parametrize(
    ("text", "words"), [("hf://org/none", "no such model"), ("hf://org/tiny@none", "at none: the hub has no such rev")]
)
def test_what_is_not_there_is_named(settings, published, hub, text, words):
    with pytest.raises(NotFoundError, match=words) as missing:
        find_origin(text, settings=settings).listing()
    assert hub.endpoint in str(missing.value)


@pytest.mark.parametrize("name", ["org/model-", "org/mo--del", "org/model.git"])
def test_a_name_that_the_hub_does_not_allow_is_refused(settings, hub, name):
    with pytest.raises(UsageError, match=name) as refused:
        find_origin(f"hf://{name}", settings=settings).listing()
    assert "\n" not in str(refused.value)
    assert not hub.asked


def test_a_file_that_went_away_is_named(origin, hub):
    listing = origin.listing()
    del hub.models["org/tiny"].revisions[listing.revision].files["config.json"]
    with pytest.raises(NotFoundError, match=r"config\.json"):
        read(origin, "config.json")


def test_a_gated_model_says_where_to_ask_for_access(origin, published, hub):
    published.gated = {"hf_other"}
    origin.listing()
    with pytest.raises(AccessDeniedError) as refused:
        read(origin, "model.safetensors")
    message = str(refused.value)
    assert message.startswith("model.safetensors: ")
    assert f"{hub.endpoint}/org/tiny" in message
    assert "HF_TOKEN" in message
    assert "hf_secret" not in message
    assert "\n" not in message
    hub.tokens.add("hf_other")


def test_a_gated_model_opens_to_a_token_with_access(origin, published):
    published.gated = {"hf_secret"}
    assert read(origin, "model.safetensors")


@pytest.mark.parametrize("token", [None, "hf_unknown"])
def test_a_private_model_is_refused_without_its_token(settings, published, token):
    published.private = True
    with pytest.raises(AccessDeniedError, match="HF_TOKEN") as refused:
        find_origin("hf://org/tiny", settings=replace(settings, hf_token=token)).listing()
    assert "hf_unknown" not in str(refused.value)


@pytest.mark.parametrize(
    ("token", "error", "words"),
    [("hf_unknown", AccessDeniedError, "does not know the token"), ("hf_gr\xfc\xdfe", UsageError, "HF_TOKEN")],
    ids=["unknown", "not ASCII"],
)
def test_a_token_that_is_wrong_is_told_from_a_model_that_is_closed(settings, published, token, error, words):
    with pytest.raises(error, match=words) as refused:
        find_origin("hf://org/tiny", settings=replace(settings, hf_token=token)).listing()
    assert token not in str(refused.value)


def test_large_files_with_odd_names_come_through_redirects(settings, hub, tmp_path):
    files = {"\u65e5\u672c.bin": b"a" * 10, "50%.bin": b"b" * 10, "a b/c #1?.bin": b"c" * 10}
    for path, data in files.items():
        (tmp_path / "odd" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "odd" / path).write_bytes(data)
    hub.add("org/odd", tmp_path / "odd")
    odd = find_origin("hf://org/odd", settings=settings)
    assert {file.path: read(odd, file.path) for file in odd.listing().files} == files
    assert all(file.digest for file in odd.listing().files)


def test_offline_mode_is_said(settings, published):
    """The client reads its variable when it is imported."""
    import subprocess
    import sys

    code = (
        "import sys\nfrom modfile.errors import OriginError\nfrom modfile.origins import find_origin, OriginSettings\n"
        "try:\n    find_origin('hf://org/tiny', settings=OriginSettings(hf_endpoint=sys.argv[1])).listing()\n"
        "except OriginError as error:\n    print(error)"
    )
    argv = [sys.executable, "-c", code, settings.hf_endpoint]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={"HF_HUB_OFFLINE": "1"})
    assert "offline" in done.stdout.lower()
    assert "\n" not in done.stdout.strip()


# Trouble on the way


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.promise("R7")
def test_a_listing_is_asked_for_again(origin, hub, pauses, status):
    hub.fault("/api/models", Fault(status=status, headers={"Retry-After": "7"}), times=2)
    assert origin.listing().files
    assert len(pauses) == 2
    assert all(pause >= 7 for pause in pauses)


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("place", ["/resolve/", "/cdn/"])
@pytest.mark.promise("R7")
def test_a_file_is_asked_for_again(origin, hub, pauses, notes, place, status):
    hub.fault(place, Fault(status=status, headers={"Retry-After": "7"}), times=2)
    assert read(origin, "model.safetensors")
    assert len(pauses) == 2
    assert all(pause >= 7 for pause in pauses)
    assert all("model.safetensors" in note and "trying again" in note for note in notes)


@pytest.mark.promise("R7")
def test_a_date_may_say_when_to_come_back(origin, hub, pauses):
    from email.utils import formatdate

    hub.fault("/resolve/", Fault(status=503, headers={"Retry-After": formatdate(time.time() + 60, usegmt=True)}))
    assert read(origin, "config.json")
    assert 30 < pauses[0] <= 61


@pytest.mark.promise("R7")
def test_what_asks_for_too_long_a_wait_is_given_up_and_says_so(origin, hub, pauses):
    hub.fault("/resolve/", Fault(status=429, headers={"Retry-After": "86400"}), times=None)
    with pytest.raises(OriginError, match=r"config\.json.*asks to wait 24 hours"):
        read(origin, "config.json")
    assert not pauses


def test_a_hub_that_keeps_failing_is_an_error_that_names_file_and_url(origin, hub):
    hub.fault("/cdn/", Fault(status=503), times=None)
    with pytest.raises(OriginError, match=r"^model\.safetensors: .*503") as failed:
        read(origin, "model.safetensors")
    assert hub.cdn in str(failed.value)
    assert "Signature" not in str(failed.value)
    listed = len([asked for asked in hub.asked if asked.cdn])
    assert listed == 5


@pytest.mark.parametrize("status", [400, 409, 418, 501])
@pytest.mark.promise("R7")
def test_other_refusals_are_not_tried_again(origin, hub, pauses, status):
    hub.fault("/resolve/", Fault(status=status), times=None)
    with pytest.raises(OriginError, match=str(status)):
        read(origin, "config.json")
    assert not pauses


def test_a_link_of_the_other_host_that_expired_is_asked_for_anew(origin, hub):
    hub.fault("/cdn/", Fault(status=403, body=b"Request has expired"))
    assert read(origin, "model.safetensors")
    assert len([asked for asked in hub.asked if "/resolve/" in asked.path]) == 2


def test_a_stream_that_breaks_off_is_gone_on_with_where_it_broke(origin, model, hub):
    hub.fault("/cdn/", Fault(cut=1000))
    file = next(file for file in origin.listing().files if file.digest)
    with origin.open(file) as reader:
        data = reader.read(600) + reader.read(400)
        with pytest.raises(ConnectionLostError):
            reader.read(1)
    assert len(data) == 1000
    with origin.open(file, len(data)) as reader:
        data += reader.read()
    assert data == (model / "model.safetensors").read_bytes()
    assert hub.bytes_of("model.safetensors") == file.size


@pytest.mark.promise("R8")
def test_a_stream_that_stalls_breaks_off(origin, hub):
    hub.fault("/cdn/", Fault(stall=1000))
    with pytest.raises(ConnectionLostError, match="stalled"):
        read(origin, "model.safetensors")


def test_a_hub_that_is_not_there_is_an_error(one_try):
    settings = replace(one_try, hf_endpoint="http://127.0.0.1:9")
    with pytest.raises(OriginError, match="cannot reach"):
        find_origin("hf://org/tiny", settings=settings).listing()


# What is not what it should be


def test_a_range_of_another_place_is_refused(origin, hub):
    hub.fault("/cdn/", Fault(headers={"Content-Range": "bytes 0-9/262232"}))
    with pytest.raises(OriginError, match="was asked for bytes"):
        read(origin, "model.safetensors", 10, 20)


def test_a_file_of_another_size_is_refused(origin, model, hub):
    file = next(file for file in origin.listing().files if file.path == "config.json")
    with pytest.raises(VerificationError, match=r"config\.json"), origin.open(replace(file, size=file.size + 1)) as r:
        r.read()
    with pytest.raises(VerificationError, match=r"config\.json"), origin.open(replace(file, size=99), 10, 20) as r:
        r.read()


def test_a_small_file_with_other_bytes_is_refused(origin, hub):
    hub.fault("/resolve/", Fault(wrong=5))
    with pytest.raises(VerificationError, match=r"config\.json is not what the hub lists"):
        read(origin, "config.json")


def test_a_small_file_that_is_another_the_next_time_is_refused(origin, hub):
    read(origin, "config.json", 0, 5)
    hub.fault("/resolve/", Fault(headers={"ETag": '"other"'}))
    with pytest.raises(VerificationError, match=r"config\.json changed"):
        read(origin, "config.json", 5, 10)


GOOD = {"rfilename": "a.json", "size": 2, "blobId": "0" * 40}


@pytest.mark.promise("O1")
@pytest.mark.parametrize(
    ("siblings", "words"),
    [
        ([], "no files"),
        ([{**GOOD, "rfilename": "../escape"}], "'..' segment"),
        ([{**GOOD, "rfilename": "a/../../escape"}], "'..' segment"),
        ([{**GOOD, "rfilename": "/etc/passwd"}], "absolute"),
        ([{**GOOD, "rfilename": "a\\b"}], "backslash"),
        ([{**GOOD, "rfilename": "C:evil"}], "drive"),
        ([{**GOOD, "rfilename": ""}], "empty"),
        ([{**GOOD, "rfilename": "a\0b"}], "NUL"),
        ([{**GOOD, "rfilename": "x" * 300}], "255 bytes"),
        ([{**GOOD, "rfilename": 7}], "no path"),
        ([GOOD, GOOD], "there twice"),
        ([GOOD, {**GOOD, "rfilename": "A.json"}], "differ only in case"),
        ([GOOD, {**GOOD, "rfilename": "a.json/b"}], "lies inside"),
        ([{**GOOD, "size": -1}], "size"),
        ([{**GOOD, "size": 2**63}], "size"),
        ([{**GOOD, "size": "2"}], "size"),
        ([{**GOOD, "size": None}], "size"),
        ([{"rfilename": "a.json"}], "size"),
        ([{**GOOD, "size": True}], "size"),
        ([{**GOOD, "lfs": {"sha256": "xyz", "size": 2, "pointerSize": 1}}], "digest"),
        ([{**GOOD, "lfs": {"sha256": "A" * 64, "size": 2, "pointerSize": 1}}], "digest"),
        ([{**GOOD, "lfs": {"sha256": "0" * 64, "size": -2, "pointerSize": 1}}], "size"),
        ([{**GOOD, "lfs": {"sha256": ["0"], "size": 2, "pointerSize": 1}}], "digest"),
        (["a.json"], "list of files"),
        ({"a": 1}, "list of files"),
    ],
)
@pytest.mark.promise("R1", "W1")
def test_a_hostile_listing_is_refused(origin, published, siblings, words):
    published.siblings = siblings
    with pytest.raises(ContentError) as refused:
        origin.listing()
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>maintenance</html>", id="a page"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'"text"', id="a text"),
        pytest.param(b"{}", id="an empty object"),
        pytest.param(b'{"siblings": 3}', id="a number of files"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(b"[" * 100_000, id="too deep"),
    ],
)
def test_an_answer_that_is_no_listing_is_refused(settings, published, hub, body):
    hub.fault("/api/models", Fault(body=body), times=None)
    origin = find_origin("hf://org/tiny", settings=settings)
    with pytest.raises((ContentError, OriginError)) as refused:
        origin.listing()
    assert "\n" not in str(refused.value)
    assert "Traceback" not in str(refused.value)


@pytest.mark.parametrize("sha", [None, "main", "0" * 39, "../x", 5])
def test_a_listing_without_a_commit_is_refused(origin, hub, sha):
    body = json.dumps({"id": "org/tiny", "sha": sha, "siblings": [GOOD]}).encode()
    hub.fault("/api/models", Fault(body=body), times=None)
    with pytest.raises(ContentError):
        origin.listing()


def test_more_files_than_the_hub_lists_at_once_are_refused(origin, published):
    published.siblings = [{**GOOD, "rfilename": f"{number}.json"} for number in range(50_000)]
    with pytest.raises(ContentError, match="50,000 files or more"):
        origin.listing()


def test_a_file_that_is_empty_is_read_without_a_request(origin, published, model, hub, settings):
    (model / "empty.txt").touch()
    hub.add("org/tiny", model)
    origin = find_origin("hf://org/tiny", settings=settings)
    assert read(origin, "empty.txt") == b""


def test_paths_with_odd_characters_come_through(settings, hub, tmp_path):
    directory = tmp_path / "odd"
    names = ["a b.json", "ü#1.json", "50%.txt", "q?x=1&y.txt", "plus+.txt", "[x].txt", "日本/語.txt"]
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(name)
    (directory / "weights #1?.safetensors").write_bytes(b"weights")
    hub.add("org/odd", directory)
    origin = find_origin("hf://org/odd", settings=settings)
    assert {file.path for file in origin.listing().files} == {*names, "weights #1?.safetensors"}
    for name in names:
        assert read(origin, name).decode() == name


def test_a_file_of_no_listing_is_not_found(origin):
    with pytest.raises(NotFoundError), origin.open(OriginFile("none.bin", 5)) as reader:
        reader.read()
