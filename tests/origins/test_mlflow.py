"""MLflow's registry and runs, kept in SQLite and a directory; a server of MLflow's has tests elsewhere."""

from dataclasses import replace
from pathlib import Path

import pytest

from modfile.errors import AccessDeniedError, ContentError, NotFoundError, OriginError, VerificationError
from modfile.origins import OriginSettings, find_origin
from tests.models import small_model
from tests.origins.reading import brought, contents, read

pytestmark = [
    # MLflow's own, of its dependencies and of what it leaves open
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A tracking store with a model of two versions, and a run with artifacts: its URI, the files and the run."""
    import warnings

    directory = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{directory}/mlflow.db"
    model = small_model(directory / "tiny")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        experiment = client.create_experiment("tests", artifact_location=(directory / "artifacts").as_uri())
        run = client.create_run(experiment).info.run_id
        client.log_artifacts(run, str(model), "model")
        client.create_registered_model("tiny")
        source = f"{(directory / 'artifacts').as_uri()}/{run}/artifacts/model"
        for _ in range(2):
            client.create_model_version("tiny", source, run)
        client.set_registered_model_alias("tiny", "champion", "1")
    return uri, model, run


@pytest.fixture
def settings(store, tmp_path):
    return OriginSettings(mlflow_tracking_uri=store[0], scratch=tmp_path / "scratch")


@pytest.mark.parametrize(
    ("text", "revision", "url"),
    [
        ("models:/tiny/1", "1", "models:/tiny/1"),
        ("models:/tiny/2", "2", "models:/tiny/2"),
        ("models:/tiny/latest", "2", "models:/tiny/2"),
        ("models:/tiny@champion", "1", "models:/tiny/1"),
    ],
)
def test_a_version_is_found(settings, store, text, revision, url):
    origin = find_origin(text, settings=settings)
    listing = origin.listing()
    assert (listing.name, listing.revision, listing.url) == ("tiny", revision, url)
    model = store[1]
    assert {file.path for file in listing.files} == {
        path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()
    }
    for file in listing.files:
        data = (model / file.path).read_bytes()
        assert file.size == len(data)
        assert read(origin, file.path) == data
        assert read(origin, file.path, 3, 7) == data[3:7]


def test_the_artifacts_of_a_run_are_found(settings, store):
    origin = find_origin(f"runs:/{store[2]}/model", settings=settings)
    listing = origin.listing()
    assert (listing.name, listing.revision) == ("model", store[2])
    assert read(origin, "data/train.csv") == (store[1] / "data/train.csv").read_bytes()


@pytest.mark.parametrize(
    "text", ["models:/none/1", "models:/tiny/7", "models:/tiny@none", "models:/none/latest", "runs:/0123/model"]
)
def test_what_is_not_there_is_named(settings, text):
    with pytest.raises(NotFoundError) as missing:
        find_origin(text, settings=settings).listing()
    assert text in str(missing.value)
    assert "\n" not in str(missing.value)


def test_a_directory_of_a_run_without_files_is_refused(settings, store):
    with pytest.raises((ContentError, NotFoundError)):
        find_origin(f"runs:/{store[2]}/none", settings=settings).listing()


def test_what_was_read_to_its_end_does_not_stay(settings):
    origin = find_origin("models:/tiny/1", settings=settings)
    read(origin, "model.safetensors", 0, 10)
    assert [path.name for path in settings.scratch.rglob("*") if path.is_file()] == ["model.safetensors"]
    read(origin, "model.safetensors")
    assert not [path for path in settings.scratch.rglob("*") if path.is_file()]
    del origin
    assert not list(settings.scratch.iterdir())


def test_a_model_comes_into_a_directory(settings, store, tmp_path):
    assert brought(find_origin("models:/tiny@champion", settings=settings), tmp_path / "here") == contents(store[1])


class Artifacts:
    """What MLflow's artifact repositories give, with a mind of its own."""

    def __init__(self, listed=(), data=b"0123", error=None):
        self.listed = listed
        self.data = data
        self.error = error

    def list_artifacts(self, path=None):
        from mlflow.entities import FileInfo

        if self.error:
            raise self.error
        return [FileInfo(*one) for one in (self.listed(path) if callable(self.listed) else self.listed)]

    def _download_file(self, remote_file_path, local_path):
        if self.error:
            raise self.error
        Path(local_path).write_bytes(self.data)


def origin_of(settings, artifacts):
    origin = find_origin("models:/tiny/1", settings=settings)
    origin.__dict__["_resolved"] = (artifacts, "1", "tiny", "models:/tiny/1")
    return origin


@pytest.mark.promise("O1")
@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ([], "no files"),
        ([("../escape", False, 1)], "'..' segment"),
        ([("/etc/passwd", False, 1)], "absolute"),
        ([("a", False, -1)], "size"),
        ([("a", False, None)], "size"),
        ([("a", False, 1), ("A", False, 1)], "differ only in case"),
        (lambda path: [(f"{path}/x" if path else "x", True, None)], "directories"),
        (lambda path: [("x", True, None)], "lists x in x"),
        (lambda path: [("/", True, None)] if path else [("a", True, None)], "in a"),
    ],
    ids=range(9),
)
@pytest.mark.promise("W1")
def test_a_hostile_listing_is_refused(settings, listed, words, monkeypatch):
    monkeypatch.setattr("modfile.origins.mlflow.MAX_FILES", 1000)
    with pytest.raises(ContentError, match=words):
        origin_of(settings, Artifacts(listed)).listing()


@pytest.mark.parametrize("data", [b"", b"012", b"01234"])
def test_a_file_of_another_size_is_refused(settings, data):
    origin = origin_of(settings, Artifacts([("a/b.bin", False, 4)], data))
    with pytest.raises(VerificationError, match=r"a/b\.bin is said to be 4 bytes large"):
        read(origin, "a/b.bin")


def mlflow_error(message, code="INTERNAL_ERROR"):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode

    return MlflowException(message, error_code=ErrorCode.Value(code))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (("x", "RESOURCE_DOES_NOT_EXIST"), NotFoundError),
        (("x", "PERMISSION_DENIED"), AccessDeniedError),
        (("API request failed with error code 403 != 200",), AccessDeniedError),
        (("API request failed with error code 404 != 200",), NotFoundError),
        (("two\nlines",), OriginError),
        (FileNotFoundError("x"), NotFoundError),
        (ConnectionError("two\nlines"), OriginError),
    ],
    ids=range(7),
)
def test_errors_of_mlflow_are_told_on_one_line(settings, error, kind):
    error = mlflow_error(*error) if isinstance(error, tuple) else error
    artifacts = Artifacts([("b.bin", False, 4)])
    origin = origin_of(settings, artifacts)
    origin.listing()
    artifacts.error = error
    with pytest.raises(kind, match=r"b\.bin") as failed:
        read(origin, "b.bin")
    assert "\n" not in str(failed.value)
    with pytest.raises(kind, match="models:/tiny/1"):
        origin_of(settings, artifacts).listing()


def test_a_server_that_is_not_there_is_an_error(settings, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    origin = find_origin("models:/tiny/1", settings=replace(settings, mlflow_tracking_uri="http://127.0.0.1:9"))
    with pytest.raises(OriginError, match="models:/tiny/1"):
        origin.listing()


def test_the_page_of_a_server_is_the_url(settings):
    server = replace(settings, mlflow_tracking_uri="http://mlflow.example.com/")
    origin = origin_of(server, Artifacts([("a", False, 1)]))
    assert origin.listing().url == "http://mlflow.example.com/#/models/tiny/versions/1"
    secret = replace(settings, mlflow_tracking_uri="http://user:secret@mlflow.example.com")
    assert origin_of(secret, Artifacts([("a", False, 1)])).listing().url == "models:/tiny/1"
