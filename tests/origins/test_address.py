import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.environment import origin_settings
from modfile.errors import UsageError
from modfile.origins import Address, OriginSettings, find_origin

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "provider", "expected"),
    [
        ("https://huggingface.co/org/model", None, ("huggingface", "org/model", None)),
        ("https://huggingface.co/org/model/", None, ("huggingface", "org/model", None)),
        ("https://hf.co/org/model", None, ("huggingface", "org/model", None)),
        ("https://HuggingFace.co/org/model/tree/main", None, ("huggingface", "org/model", "main")),
        (f"https://huggingface.co/org/model/tree/{COMMIT}", None, ("huggingface", "org/model", COMMIT)),
        ("https://huggingface.co/org/model/tree/refs%2Fpr%2F1", None, ("huggingface", "org/model", "refs/pr/1")),
        ("https://huggingface.co/org/model/tree/refs/pr/1", None, ("huggingface", "org/model", "refs/pr/1")),
        ("https://huggingface.co/gpt2", None, ("huggingface", "gpt2", None)),
        ("https://mirror.example.com/org/model", None, ("huggingface", "org/model", None)),
        ("hf://org/model", None, ("huggingface", "org/model", None)),
        ("HF://org/Model.v1-x_y", None, ("huggingface", "org/Model.v1-x_y", None)),
        ("hf://org/model@v1.0", None, ("huggingface", "org/model", "v1.0")),
        ("hf://org/model@refs/pr/1", None, ("huggingface", "org/model", "refs/pr/1")),
        ("hf://gpt2", None, ("huggingface", "gpt2", None)),
        ("org/model", "huggingface", ("huggingface", "org/model", None)),
        ("org/model@v1", "huggingface", ("huggingface", "org/model", "v1")),
        ("org/model", "modelscope", ("modelscope", "org/model", None)),
        ("modelscope://org/model@v2", None, ("modelscope", "org/model", "v2")),
        ("https://modelscope.cn/models/org/model", None, ("modelscope", "org/model", None)),
        ("https://www.modelscope.cn/models/org/model/files?revision=v1", None, ("modelscope", "org/model", "v1")),
        ("https://modelscope.ai/models/org/model/summary", None, ("modelscope", "org/model", None)),
        ("models:/name/3", None, ("mlflow", "models:/name/3", None)),
        ("models:/name@champion", None, ("mlflow", "models:/name@champion", None)),
        ("models:/my model/3".replace(" ", "_"), None, ("mlflow", "models:/my_model/3", None)),
        ("runs:/0123abc/model", None, ("mlflow", "runs:/0123abc/model", None)),
        ("s3://bucket/some/prefix/", None, ("s3", "bucket/some/prefix", None)),
        ("s3://bucket", None, ("s3", "bucket", None)),
        ("gs://bucket/prefix", None, ("gs", "bucket/prefix", None)),
        ("az://container/prefix", None, ("az", "container/prefix", None)),
        ("git+https://example.com/org/model.git", None, ("git", "https://example.com/org/model.git", None)),
        ("git+https://example.com:8443/m@v1.0", None, ("git", "https://example.com:8443/m", "v1.0")),
        ("git+http://127.0.0.1:80/m.git", None, ("git", "http://127.0.0.1:80/m.git", None)),
    ],
)
def test_a_text_names_a_model(text, provider, expected):
    found = Address.parse(text, provider, OriginSettings(hf_endpoint="https://mirror.example.com"))
    assert (found.provider, found.name, found.revision) == expected


@pytest.mark.parametrize(
    ("text", "provider", "hint"),
    [
        ("", None, "--provider"),
        ("org/model", None, "--provider"),
        ("org/model", "gitlab", "huggingface or modelscope"),
        ("modelscope://org/model", "huggingface", "provider huggingface"),
        ("a/b/c", "huggingface", "ORG/MODEL"),
        ("model", "modelscope", "ORG/MODEL"),
        ("../../etc", "huggingface", "ORG/MODEL"),
        ("org/..", "huggingface", "ORG/MODEL"),
        ("hf://org/model@", None, "revision"),
        ("hf://org/model@--upload-pack=x", None, "revision"),
        ("hf://org/model@a/../b", None, "revision"),
        ("hf://org/mo?del", None, "ORG/MODEL"),
        ("hf://org/mo del", None, "space"),
        ("hf://org/mo\x1bdel", None, "print"),
        ("hf:org/model", None, "expected https://huggingface.co"),
        ("https://huggingface.co/datasets/org/data", None, "of datasets"),
        ("https://huggingface.co/org/model/blob/main/config.json", None, "--include"),
        ("https://huggingface.co/org/model/tree/main/onnx", None, "--include 'onnx/**'"),
        ("https://user:hf_secret@huggingface.co/org/model", None, "leave credentials out"),
        ("https://example.com/org/model", None, "not a hub"),
        ("https://huggingface.co.evil.example/org/model", None, "not a hub"),
        ("https://[::1/org/model", None, "not a URL"),
        ("https://modelscope.cn/datasets/org/model", None, "not a model's page"),
        ("models:/name", None, "names no version"),
        ("models:/a/b/c", None, "names no version"),
        ("models:/../x", None, "names no model"),
        ("models://host/name/1", None, "names no model"),
        ("runs:/abc", None, "names no artifact"),
        ("s3://", None, "bucket and a prefix"),
        ("s3://bucket/../other", None, "bucket and a prefix"),
        ("s3://key:secret@bucket/x", None, "bucket and a prefix"),
        ("s3://bucket/*", None, "bucket and a prefix"),
        ("git+ssh://git@example.com/m.git", None, "git+https://"),
        ("git+file:///etc", None, "git+https://"),
        ("git+http://example.com/m.git", None, "plain HTTP is for this machine"),
        ("git+https://user:secret@example.com/m.git", None, "leave credentials out"),
        ("git+https://token@example.com/org/m.git", None, "leave credentials out"),
        ("git+https://example.com/m.git@--upload-pack=touch", None, "revision"),
        ("git+https://example.com", None, "not a repository"),
        ("file:///etc/passwd", None, "names no model"),
        ("https://example.com/org/model?token=secret", None, "not a hub"),
        ("sftp://user:secret@example.com/m?key=secret", None, "names no model"),
        ("models://user:secret@databricks/name/1", None, "names no model"),
        ("ftp://example.com/m", None, "names no model"),
    ],
)
def test_what_names_no_model_is_refused_with_a_hint(text, provider, hint):
    with pytest.raises(UsageError) as refused:
        Address.parse(text, provider, OriginSettings())
    assert hint in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"(hf|s3|git\+https|models|https)://[a-z@:/.%?#-]{0,40}", fullmatch=True))
def test_any_text_is_an_address_or_a_usage_error(text):
    try:
        found = Address.parse(text, None, OriginSettings())
    except UsageError:
        return
    assert found.provider
    assert ".." not in found.name.split("/")
    assert not (found.revision or "").startswith("-")


def test_the_environment_is_read_as_the_clients_read_it(tmp_path):
    found = origin_settings(
        {
            "HF_ENDPOINT": "https://mirror.example.com/",
            "HF_TOKEN": " hf_x\n",
            "HF_HOME": str(tmp_path / "hf"),
            "MODELSCOPE_DOMAIN": "www.modelscope.cn",
            "MODELSCOPE_API_TOKEN": "ms_x",
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
        }
    )
    assert (found.hf_endpoint, found.hf_token) == ("https://mirror.example.com", "hf_x")
    assert found.hf_cache == tmp_path / "hf" / "hub"
    assert (found.modelscope_endpoint, found.modelscope_token) == ("https://www.modelscope.cn", "ms_x")
    assert found.mlflow_tracking_uri == "http://127.0.0.1:5000"
    usual = origin_settings({})
    assert (usual.hf_endpoint, usual.hf_token) == ("https://huggingface.co", None)
    assert usual.hf_cache.parts[-3:] == (".cache", "huggingface", "hub")
    assert origin_settings({"HF_TOKEN": "hf_x", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}).hf_token is None
    assert origin_settings({"HF_HUB_CACHE": "/c"}).hf_cache.as_posix() == "/c"


@pytest.mark.parametrize("url", ["huggingface.co", "file:///x", "https://u:secret@h", "https://", "https://[::1"])
def test_an_endpoint_that_is_no_url_is_refused(url):
    with pytest.raises(UsageError, match="HF_ENDPOINT") as refused:
        origin_settings({"HF_ENDPOINT": url})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "library", "extra"),
    [
        ("hf://org/model", "huggingface_hub", "hf"),
        ("modelscope://org/model", "modelscope_hub", "modelscope"),
        ("models:/name/1", "mlflow", "mlflow"),
        ("s3://bucket/x", "s3fs", "s3"),
        ("gs://bucket/x", "gcsfs", "gs"),
        ("az://container/x", "adlfs", "az"),
    ],
)
def test_a_missing_client_library_is_an_error_that_says_how_to_get_it(text, library, extra):
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from modfile.errors import UsageError\nfrom modfile.origins import find_origin, OriginSettings\n"
        "try:\n    find_origin(sys.argv[1], settings=OriginSettings(mlflow_tracking_uri='x'))\n"
        "except UsageError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True, check=True)
    assert f"pip install 'modfile[{extra}]'" in done.stdout


def test_no_client_library_is_imported_before_it_is_needed():
    code = (
        "import sys, modfile.origins, modfile.environment, modfile_cmd.main\n"
        "print([m for m in ('huggingface_hub', 'modelscope_hub', 'mlflow', 'fsspec') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_mlflow_needs_to_be_told_where():
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI"):
        find_origin("models:/name/1")


def test_settings_do_not_show_their_tokens():
    shown = repr(OriginSettings(hf_token="hf_secret", modelscope_token="ms_secret"))
    assert "secret" not in shown
