"""What the environment, the home directory and the config file say. Nothing else of the library reads them.

What is below this takes settings as arguments. `Session.from_environment` asks here, and so does the command line.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .reference import check_host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .mirror import Mirror
    from .origins.settings import OriginSettings

_YEAR_9999, _LONGEST_EPOCH = 253402300799, 12
_MOST_AT_ONCE = 100
_LARGEST_FILE = 1 << 20
_REGISTRY_KEYS: Mapping[str, type] = {
    "plain_http": bool,
    "insecure": bool,
    "ca_file": str,
    "concurrency": int,
    "mirror": str,
    "trust_realm": list,
}
_NO_TOKEN = "HF_HUB_DISABLE_IMPLICIT_TOKEN"  # noqa: S105 - a variable's name
_SOCKS = ("socks4", "socks4a", "socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class HostSettings:
    """The config file's table `[registry."host"]`."""

    plain_http: bool | None = None
    insecure: bool = False
    ca_file: Path | None = None
    concurrency: int | None = None
    trust_realm: tuple[str, ...] = ()
    mirror: Mirror | None = None


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The config file."""

    registries: Mapping[str, HostSettings] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, *, required: bool) -> ConfigFile:
        """Read the file; one that is not there says nothing, unless it is required.

        Raises:
            UsageError: it cannot be read, or says something that has no meaning.
        """
        try:
            with path.open("rb") as file:
                value = tomllib.loads(file.read(_LARGEST_FILE).decode())
        except FileNotFoundError:
            if required:
                raise UsageError(f"the config file {path} does not exist") from None
            return cls()
        except OSError as error:
            raise UsageError(f"the config file {path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"the config file {path}: {error}") from None
        if unknown := set(value) - {"registry"}:
            raise UsageError(f'the config file {path}: {sorted(unknown)[0]!r} is not known; expected [registry."host"]')
        tables = value.get("registry", {})
        if not isinstance(tables, dict):
            raise UsageError(f"the config file {path}: registry is not a table")
        for host in tables:
            try:
                check_host(host)
            except UsageError as error:
                raise UsageError(f"the config file {path}: {error}") from None
        return cls({host: _host_settings(table, f"{path}: registry.{host!r}") for host, table in tables.items()})


def _host_settings(table: Any, where: str) -> HostSettings:
    if not isinstance(table, dict):
        raise UsageError(f"the config file {where} is not a table")
    for key, value in table.items():
        expected = _REGISTRY_KEYS.get(key)
        if expected is None:
            raise UsageError(f"the config file {where}: {key!r} is not known; known are {', '.join(_REGISTRY_KEYS)}")
        if type(value) is not expected:
            raise UsageError(f"the config file {where}: {key} is a {expected.__name__}, not {value!r}")
    if not 1 <= table.get("concurrency", 1) <= _MOST_AT_ONCE:
        raise UsageError(f"the config file {where}: concurrency lies between 1 and {_MOST_AT_ONCE}")
    if "ca_file" in table:
        table["ca_file"] = Path(table["ca_file"]).expanduser()
    if "trust_realm" in table:
        table["trust_realm"] = tuple(str(host) for host in table["trust_realm"])
    if "mirror" in table:
        from .mirror import Mirror

        try:
            table["mirror"] = Mirror.parse(table["mirror"])
        except UsageError as error:
            raise UsageError(f"the config file {where}: mirror: {error}") from None
    return HostSettings(**table)


def config_file(environment: Mapping[str, str] = os.environ) -> ConfigFile:
    """Read the config file: the one that `MODFILE_CONFIG` names, else the platform's usual one if it is there.

    Raises:
        UsageError: it cannot be read, or says something that has no meaning.
    """
    if chosen := environment.get("MODFILE_CONFIG"):
        return ConfigFile.load(Path(chosen).expanduser(), required=True)
    return ConfigFile.load(default_config_file(), required=False)


def storage_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the local store is: in `MODFILE_STORAGE_DIR`, else in the platform's usual place."""
    chosen = environment.get("MODFILE_STORAGE_DIR")
    return (Path(chosen) if chosen else default_storage_directory()).expanduser().absolute()


def default_config_file() -> Path:
    """Return where the config file is unless it is said."""
    from platformdirs import user_config_path

    return user_config_path("modfile") / "config.toml"


def default_storage_directory() -> Path:
    """Return where the local store is unless it is said."""
    from platformdirs import user_data_path

    return user_data_path("modfile")


def credential_files(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the files that docker and podman keep credentials in; the first is the one to write.

    `REGISTRY_AUTH_FILE` (podman's), docker's `config.json` (in `DOCKER_CONFIG`), then podman's two usual places.
    """
    home = Path.home()
    files = []
    if chosen := environment.get("REGISTRY_AUTH_FILE"):
        files.append(Path(chosen))
    docker = environment.get("DOCKER_CONFIG")
    files.append((Path(docker) if docker else home / ".docker") / "config.json")
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        files.append(Path(runtime) / "containers" / "auth.json")
    config = environment.get("XDG_CONFIG_HOME")
    files.append((Path(config) if config else home / ".config") / "containers" / "auth.json")
    return files


def proxy_from_environment(chosen: str | None = None) -> Callable[[str], str | None]:
    """Return what tells the proxy for a URL: the one chosen, else what `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` say."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()

    def proxy_for(url: str) -> str | None:
        if chosen:
            return _checked_proxy(chosen)
        parts = urlsplit(url)
        if proxy_bypass(parts.netloc):
            return None
        return _checked_proxy(proxies.get(parts.scheme) or proxies.get("all"))

    return proxy_for


def _checked_proxy(proxy: str | None) -> str | None:
    """Return the proxy's URL if it can be used.

    Raises:
        UsageError: it is of an unknown kind, or needs what is not installed.
    """
    scheme, slashes, _ = (proxy or "").partition("://")
    scheme = scheme.lower() if slashes else "http"
    if scheme not in ("http", "https", *_SOCKS):
        raise UsageError(f"a proxy's URL starts with http://, https:// or socks5h://, not with {scheme}://")
    if scheme in _SOCKS and find_spec("socks") is None:
        raise UsageError(f"a {scheme}:// proxy needs PySocks: pip install 'modfile[socks]'")
    return proxy or None


def source_date_epoch(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return `SOURCE_DATE_EPOCH`, seconds since 1970 (reproducible-builds.org).

    Raises:
        UsageError: it is not a number of seconds.
    """
    text = environment.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_EPOCH and int(text) <= _YEAR_9999):
        raise UsageError(f"SOURCE_DATE_EPOCH is {text[:40]!r}; expected seconds since 1970")
    return int(text)


def origin_settings(environment: Mapping[str, str] = os.environ) -> OriginSettings:
    """Return how the places that models come from are reached, as their own client libraries read it.

    Hugging Face's `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_CACHE`, `HF_HOME`; ModelScope's `MODELSCOPE_ENDPOINT` (or the
    older `MODELSCOPE_DOMAIN`) and `MODELSCOPE_API_TOKEN`; MLflow's `MLFLOW_TRACKING_URI`. What else they know, such as
    a token that a login left, they find by themselves.

    Raises:
        UsageError: an endpoint is not an http or https URL.
    """
    from .origins.settings import HUGGING_FACE, MODELSCOPE, OriginSettings

    modelscope = environment.get("MODELSCOPE_ENDPOINT") or environment.get("MODELSCOPE_DOMAIN") or MODELSCOPE
    if "://" not in modelscope:
        modelscope = f"https://{modelscope}"
    return OriginSettings(
        hf_endpoint=_endpoint("HF_ENDPOINT", environment.get("HF_ENDPOINT") or HUGGING_FACE),
        hf_token=None if _is_true(environment, _NO_TOKEN) else environment.get("HF_TOKEN", "").strip() or None,
        hf_cache=_hugging_face_cache(environment),
        modelscope_endpoint=_endpoint("MODELSCOPE_ENDPOINT", modelscope),
        modelscope_token=environment.get("MODELSCOPE_API_TOKEN", "").strip() or None,
        mlflow_tracking_uri=environment.get("MLFLOW_TRACKING_URI") or None,
    )


def mlflow_server_hosts(environment: Mapping[str, str] = os.environ) -> frozenset[str] | None:
    """Return the registries that this process may talk to for an MLflow server's clients; None for any.

    `mlflow server` tells its workers by `_MLFLOW_SERVER_ARTIFACT_ROOT` and `_MLFLOW_SERVER_ARTIFACT_DESTINATION` where
    it keeps artifacts. Where else its clients may send it, is said by `MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES`.
    """
    root = environment.get("_MLFLOW_SERVER_ARTIFACT_ROOT")
    allowed = environment.get("MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES", "").lower().split(",")
    if root is None or "modelpack" in (scheme.strip() for scheme in allowed):
        return None
    locations = (root, environment.get("_MLFLOW_SERVER_ARTIFACT_DESTINATION", ""))
    parts = (location.partition("://") for location in locations)
    return frozenset(rest.partition("/")[0] for scheme, _, rest in parts if scheme == "modelpack")


def _is_true(environment: Mapping[str, str], variable: str) -> bool:
    return environment.get(variable, "").upper() in ("1", "ON", "YES", "TRUE")


def _endpoint(variable: str, url: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url.strip())
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(f"{variable} is not a URL such as https://huggingface.co")
    return url.strip().rstrip("/")


def _hugging_face_cache(environment: Mapping[str, str]) -> Path:
    """Return where Hugging Face's libraries keep downloads (huggingface_hub's page "Environment variables")."""
    if chosen := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(chosen).expanduser()
    if home := environment.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    cache = environment.get("XDG_CACHE_HOME")
    return (Path(cache).expanduser() if cache else Path.home() / ".cache") / "huggingface" / "hub"
