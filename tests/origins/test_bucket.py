"""Buckets through fsspec: S3 by moto's server, the paths that all clients share by fsspec's own memory."""

import boto3
import fsspec
import pytest

from modfile.errors import (
    AccessDeniedError,
    ConnectionLostError,
    ContentError,
    NotFoundError,
    OriginError,
    VerificationError,
)
from modfile.origins import OriginSettings, find_origin
from modfile.origins.bucket import BucketModel
from tests.hubs.s3 import serving_s3
from tests.origins.reading import brought, contents, read

pytestmark = [
    # what the clients leave behind when they are forgotten
    pytest.mark.filterwarnings("ignore:.*utcnow.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning"),
]


@pytest.fixture(scope="module")
def server():
    with serving_s3() as url:
        yield url


@pytest.fixture
def s3(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    yield client
    for one in client.list_objects_v2(Bucket="models").get("Contents", []):
        client.delete_object(Bucket="models", Key=one["Key"])
    client.delete_bucket(Bucket="models")
    client.close()


@pytest.fixture
def published(s3, model):
    for path in model.rglob("*"):
        if path.is_file():
            key = f"llm/tiny/{path.relative_to(model)}"
            s3.put_object(Bucket="models", Key=key, Body=path.read_bytes(), ACL="public-read")
    s3.put_object(Bucket="models", Key="llm/tiny-other/config.json", Body=b"{}")
    s3.put_object(Bucket="models", Key="llm/tiny/data/", Body=b"")
    return s3


@pytest.fixture
def origin(published):
    return find_origin("s3://models/llm/tiny", settings=OriginSettings())


def test_a_listing_tells_the_objects_below_the_prefix(origin, model):
    listing = origin.listing()
    expected = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    assert {file.path for file in listing.files} == expected
    assert all(file.size == (model / file.path).stat().st_size and file.digest is None for file in listing.files)
    assert (listing.url, listing.revision, listing.name) == ("s3://models/llm/tiny", "", "tiny")


def test_files_are_read_whole_and_in_parts(origin, model):
    for file in origin.listing().files:
        data = (model / file.path).read_bytes()
        assert read(origin, file.path) == data
        assert read(origin, file.path, 3) == data[3:]
        assert read(origin, file.path, 3, 7) == data[3:7]
        assert read(origin, file.path, file.size) == b""


def test_a_large_object_comes_in_several_requests(s3, monkeypatch):
    data = bytes(range(256)) * 4096
    monkeypatch.setattr("modfile.origins.bucket._BLOCK", 300_000)
    s3.put_object(Bucket="models", Key="big/weights.bin", Body=data)
    origin = find_origin("s3://models/big", settings=OriginSettings())
    assert read(origin, "weights.bin") == data
    assert read(origin, "weights.bin", 299_990, 700_000) == data[299_990:700_000]


def test_one_object_is_a_model_of_one_file(published):
    origin = find_origin("s3://models/llm/tiny/config.json", settings=OriginSettings())
    assert [file.path for file in origin.listing().files] == ["config.json"]
    assert read(origin, "config.json")


def test_without_credentials_it_is_asked_for_as_anybody_may(published, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    origin = find_origin("s3://models/llm/tiny", settings=OriginSettings())
    assert read(origin, "config.json")
    published.put_object_acl(Bucket="models", Key="llm/tiny/run.py", ACL="private")
    with pytest.raises(AccessDeniedError, match=r"run\.py is refused; check the credentials"):
        read(origin, "run.py")


@pytest.mark.parametrize("text", ["s3://models/none", "s3://no-such-bucket/x", "s3://no-such-bucket"])
def test_what_is_not_there_is_named(s3, text):
    with pytest.raises(NotFoundError, match=text):
        find_origin(text, settings=OriginSettings()).listing()


def test_an_object_that_went_away_is_named(origin, published):
    origin.listing()
    published.delete_object(Bucket="models", Key="llm/tiny/config.json")
    with pytest.raises(NotFoundError, match=r"config\.json"):
        read(origin, "config.json")


def test_an_object_that_changed_since_it_was_listed_is_refused(origin, published):
    origin.listing()
    published.put_object(Bucket="models", Key="llm/tiny/config.json", Body=b"x" * 55)
    with pytest.raises(VerificationError, match=r"config\.json changed since it was listed"):
        read(origin, "config.json")


def test_an_object_that_changes_while_it_is_read_is_refused(origin, published):
    file = next(file for file in origin.listing().files if file.path == "config.json")
    with origin.open(file) as reader:
        published.put_object(Bucket="models", Key="llm/tiny/config.json", Body=b"x" * file.size)
        with pytest.raises(VerificationError, match=r"config\.json changed while it was read"):
            reader.read()


def test_a_model_comes_into_a_directory_whole_or_not_at_all(origin, published, model, tmp_path):
    assert brought(origin, tmp_path / "here") == contents(model)
    assert brought(origin, tmp_path / "here") == contents(model)
    published.put_object(Bucket="models", Key="llm/tiny/run.py", Body=b"print('other')\n")
    with pytest.raises(VerificationError, match=r"run\.py changed since it was listed"):
        brought(origin, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("key", "words"), [("../x", "'..' segment"), ("a//b", "empty"), ("a\\b", "backslash")])
@pytest.mark.promise("W1")
def test_names_that_no_file_could_have_are_refused(s3, key, words):
    s3.put_object(Bucket="models", Key=f"bad/{key}", Body=b"x")
    with pytest.raises(ContentError, match=words):
        find_origin("s3://models/bad", settings=OriginSettings()).listing()


def test_names_that_differ_only_in_case_are_refused(s3):
    for key in ("A.json", "a.json"):
        s3.put_object(Bucket="models", Key=f"bad/{key}", Body=b"x")
    with pytest.raises(ContentError, match="differ only in case"):
        find_origin("s3://models/bad", settings=OriginSettings()).listing()


def test_a_service_that_is_not_there_is_an_error_without_a_secret(monkeypatch, s3):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(OriginError, match="s3://models/x") as failed:
        find_origin("s3://models/x", settings=OriginSettings()).listing()
    assert "aws-secret" not in str(failed.value)
    assert "\n" not in str(failed.value)


class Elsewhere(BucketModel):
    """A bucket of a client that cannot say which object is meant: fsspec's memory in its place."""

    def _filesystem_of(self, *, anonymous):
        return fsspec.filesystem("memory")


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.pipe("/bucket/m/a.json", b"0123456789")
    yield files
    files.store.clear()


@pytest.fixture
def elsewhere(memory):
    return Elsewhere("gs", "/bucket/m", OriginSettings())


def test_other_clients_give_files_too(elsewhere):
    assert [file.path for file in elsewhere.listing().files] == ["a.json"]
    assert read(elsewhere, "a.json") == b"0123456789"
    assert read(elsewhere, "a.json", 2, 5) == b"234"


def test_an_object_that_became_shorter_is_refused(elsewhere, memory):
    elsewhere.listing()
    memory.pipe("/bucket/m/a.json", b"0123")
    with pytest.raises(VerificationError, match=r"a\.json"):
        read(elsewhere, "a.json")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError("x"), NotFoundError),
        (PermissionError("x"), AccessDeniedError),
        (OSError("two\nlines"), ConnectionLostError),
        (RuntimeError("x"), ConnectionLostError),
    ],
)
def test_what_fails_in_the_middle_can_be_gone_on_with_or_is_named(elsewhere, error, kind, memory):
    file = elsewhere.listing().files[0]
    with elsewhere.open(file) as reader:

        def fail(size):
            raise error

        reader._opened = Broken(fail)
        with pytest.raises(kind, match=r"a\.json") as failed:
            reader.read()
    assert "\n" not in str(failed.value)


class Broken:
    def __init__(self, read):
        self.read = read

    def seek(self, place):
        pass
