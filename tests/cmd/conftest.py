import pytest
from typer.testing import CliRunner

from modfile_cmd.main import app
from tests.models import small_model


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """A home, a storage and a working directory of the test's own, and nothing else in the environment."""
    for name in ("SOURCE_DATE_EPOCH", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "docker"))
    monkeypatch.setenv("MODFILE_STORAGE_DIR", str(tmp_path / "storage"))
    monkeypatch.chdir(home)


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model's directory, which is the working directory."""
    directory = small_model(tmp_path / "tiny")
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def modfile():
    """Run the program in this process; give its result (`exit_code`, `stdout`, `stderr`)."""

    def run(*arguments, exit_code=0, **options):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], **options)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exit_code, (result.stdout, result.stderr)
        return result

    return run
