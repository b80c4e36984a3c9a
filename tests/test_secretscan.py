from __future__ import annotations

import base64
import json
import random
import string
from itertools import pairwise

import pytest

from modfile.errors import UsageError, WorkspaceError
from modfile.secretscan import MAX_TEXT, find_secrets
from modfile.workspace import Workspace

pytestmark = pytest.mark.promise("C5")

LETTERS = string.ascii_letters
ALPHANUMERIC = LETTERS + string.digits


def made(alphabet, length, seed=1):
    """Make up a token: none of the tests holds a real one, or one that a scanner of this repository would find."""
    return "".join(random.Random(seed).choices(alphabet, k=length))


def found(root, allow=()):
    workspace = Workspace(root)
    return {secret.path: secret.why for secret in find_secrets(workspace, workspace.files(), allow)}


def write(root, path, data):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data if isinstance(data, bytes) else data.encode())


BY_NAME = [
    ".env", ".env.local", ".env.production", ".envrc", "sub/.env", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519",
    "keys/id_ed25519_sk", ".netrc", "home/.netrc", "_netrc", ".aws/credentials", ".aws/cli/cache/x.json",
    "x/.aws/config", ".git-credentials", ".ENV", "ID_RSA",
]  # fmt: skip


@pytest.mark.parametrize("path", BY_NAME)
def test_a_file_may_be_a_secret_by_its_name(tmp_path, path):
    write(tmp_path, path, "x")
    assert list(found(tmp_path)) == [path]


NO_SECRET_BY_NAME = [
    ".env.example", ".env.sample", ".env.template", ".env.local.example", "env", "my.env", "id_rsa.pub", "id_rsa.md",
    "id_ed25519.pub", "netrc", ".awsome/x", "aws/credentials", ".gitignore", "environment.yml", "my_id_rsa",
]  # fmt: skip


@pytest.mark.parametrize("path", NO_SECRET_BY_NAME)
def test_other_names_are_no_secrets(tmp_path, path):
    write(tmp_path, path, "nothing to see here")
    assert found(tmp_path) == {}


def test_an_empty_file_holds_no_secret(tmp_path):
    for path in (".env", "id_rsa", "a.pem", ".aws/credentials"):
        write(tmp_path, path, "")
    assert found(tmp_path) == {}


def pem(kind):
    body = base64.encodebytes(random.Random(2).randbytes(300)).decode()
    return f"-----BEGIN {kind}-----\n{body}-----END {kind}-----\n"


@pytest.mark.parametrize("name", ["server.pem", "server.KEY", "a/b.key", "id_rsa.old", "id_ed25519-work"])
@pytest.mark.parametrize(
    "kind", ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY"]
)
def test_a_key_file_with_a_private_key_is_a_secret(tmp_path, name, kind):
    write(tmp_path, name, pem("CERTIFICATE") + pem(kind))
    assert found(tmp_path) == {name: "holds a private key"}


@pytest.mark.parametrize(
    "data",
    [
        pem("CERTIFICATE"),
        pem("PUBLIC KEY"),
        pem("RSA PUBLIC KEY"),
        b"PK\x03\x04 a presentation",
        "key,value\n",
        b"\0" * 99,
    ],
)
@pytest.mark.parametrize("name", ["cert.pem", "slides.key", "id_rsa.old"])
def test_a_key_file_without_a_private_key_is_none(tmp_path, name, data):
    write(tmp_path, name, data)
    assert found(tmp_path) == {}


def test_a_private_key_is_found_in_a_large_key_file(tmp_path):
    write(tmp_path, "bundle.pem", pem("PRIVATE KEY") + pem("CERTIFICATE") * 4000)
    assert (tmp_path / "bundle.pem").stat().st_size > MAX_TEXT
    assert list(found(tmp_path)) == ["bundle.pem"]


TOKENS = {
    "a Hugging Face token": ["hf_" + made(LETTERS, 34), "api_org_" + made(LETTERS, 34)],
    "a GitHub token": [f"gh{kind}_" + made(ALPHANUMERIC, 36) for kind in "pousr"]
    + ["github_pat_" + made(ALPHANUMERIC, 22) + "_" + made(ALPHANUMERIC, 59)],
    "an OpenAI key": [
        "sk-" + made(ALPHANUMERIC, 48),
        "sk-" + made(ALPHANUMERIC, 20) + "T3BlbkFJ" + made(ALPHANUMERIC, 20),
        "sk-proj-" + made(ALPHANUMERIC + "_-", 156),
        "sk-svcacct-" + made(ALPHANUMERIC, 60),
    ],
}
EACH = [(name, token) for name, tokens in TOKENS.items() for token in tokens]


@pytest.mark.parametrize(("name", "token"), EACH)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "TOKEN={}\n",
        'login(token="{}")',
        "Authorization: Bearer {}\r\n",
        "https://user:{}@host/x.git",
        "https://{}@host/x",
        '{{"token":"{}"}}',
        "- {},",
        "see {}.",
        "a\té\n{}\n",
    ],
)
def test_a_token_in_a_text_file_is_a_secret_and_is_not_told(tmp_path, name, token, around):
    text = around.format(token)
    write(tmp_path, "train.py", text)
    why = found(tmp_path)["train.py"]
    assert why == f"holds {name} in line {text[: text.index(token)].count(chr(10)) + 1}"
    assert token[8:] not in why


def aws(seed=3):
    return "AKIA" + made(string.ascii_uppercase + "234567", 16, seed), made(ALPHANUMERIC + "/+", 40, seed)


@pytest.mark.parametrize("kind", ["AKIA", "ASIA"])
def test_an_aws_key_id_with_a_secret_is_a_secret(tmp_path, kind):
    identity, secret = aws()
    write(tmp_path, "config.ini", f"id = {identity.replace('AKIA', kind)}\nkey = {secret}\n")
    assert found(tmp_path) == {"config.ini": "holds an AWS secret key in line 2"}


@pytest.mark.parametrize(
    "text",
    [
        "aws_secret_access_key = {}",
        'AWS_SECRET_ACCESS_KEY="{}"',
        '"awsSecretAccessKey": "{}"',
        "export AWS_SECRET_KEY={}",
    ],
)
def test_an_aws_secret_by_its_name_is_a_secret(tmp_path, text):
    write(tmp_path, "run.sh", text.format(aws()[1]))
    assert found(tmp_path) == {"run.sh": "holds an AWS secret key in line 1"}


PLACEHOLDERS = [
    "hf_" + "x" * 34,
    "hf_" + "X" * 34,
    "hf_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "hf_" + "YourTokenHereYourTokenHereYourToke",
    "hf_...",
    "hf_" + made(LETTERS, 33),
    "hf_" + made(LETTERS, 35),
    "hf_" + made(string.ascii_lowercase, 34),
    "hf_" + "aB" * 17,
    "my_hf_" + made(LETTERS, 34),
    "ghp_" + "0" * 36,
    "ghp_" + "1234567890abcdefghijklmnopqrstuvwxyzABCD"[:36],
    "ghp_" + made(ALPHANUMERIC, 35),
    "sk-" + "x" * 48,
    "sk-" + made(ALPHANUMERIC, 47),
    "sk-" + made("0123456789abcdef", 48),
    "task-" + made(ALPHANUMERIC, 48),
    "sk-proj-your-key-goes-here-and-nowhere-else-Please-0",
    "AKIAIOSFODNN7EXAMPLE\nwJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    aws()[0],
    aws()[1],
    aws()[0] + "\nsha1 " + made("0123456789abcdef", 40),
]


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_what_only_looks_like_a_token_is_none(tmp_path, text):
    write(tmp_path, "README.md", f"token: {text}\n")
    assert found(tmp_path) == {}


def test_binary_and_large_files_are_not_searched(tmp_path):
    token = EACH[0][1]
    write(tmp_path, "weights.bin", b"\0" + token.encode())
    write(tmp_path, "large.txt", token + "\n" + "x" * MAX_TEXT)
    write(tmp_path, "just.txt", (token + "\n").ljust(MAX_TEXT))
    assert list(found(tmp_path)) == ["just.txt"]


def test_tokenizers_and_vocabularies_hold_no_secrets(tmp_path):
    """Vocabularies are long lists of pieces of words of every shape, and base64 of them."""
    chance = random.Random(4)
    pieces = ["hf_", "ghp_", "sk-", "sk-proj-", "AKIA", "ASIA", "Ġhf", "##hf_", "api_org_", "github_pat_"]
    for _ in range(8000):
        pieces.append("".join(chance.choices(ALPHANUMERIC + "_-/+Ġ", k=chance.randint(1, 24))))
    vocabulary = {piece: rank for rank, piece in enumerate(pieces)}
    write(tmp_path, "tokenizer.json", json.dumps({"model": {"type": "BPE", "vocab": vocabulary}}))
    write(tmp_path, "vocab.txt", "\n".join(pieces))
    write(tmp_path, "merges.txt", "\n".join(f"{a} {b}" for a, b in pairwise(pieces)))
    ranks = (f"{base64.b64encode(chance.randbytes(chance.randint(1, 60))).decode()} {rank}" for rank in range(9000))
    write(tmp_path, "qwen.tiktoken", "\n".join(ranks))
    write(tmp_path, "data.b64", base64.b64encode(chance.randbytes(600_000)))
    write(
        tmp_path, "sums", "\n".join(made("0123456789abcdef", length, i) for i in range(99) for length in (32, 40, 64))
    )
    assert found(tmp_path) == {}


@pytest.mark.parametrize("pattern", [".env", "*", "**/.env", "{.env,x}", "."])
def test_what_is_allowed_is_no_secret(tmp_path, pattern):
    write(tmp_path, ".env", "x")
    assert found(tmp_path, [pattern]) == {}


def test_only_what_is_allowed_is_left_out(tmp_path):
    write(tmp_path, "a/.env", "x")
    write(tmp_path, "b/.env", "x")
    write(tmp_path, "c[1]/.env", "x")
    assert list(found(tmp_path, ["a/**", "c[1]/.env"])) == ["b/.env"]


def test_a_malformed_pattern_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="pattern 'a\\[': '\\[' is not closed"):
        found(tmp_path, ["a["])


def test_a_file_that_changed_is_an_error(tmp_path):
    write(tmp_path, "a.txt", "x")
    workspace = Workspace(tmp_path)
    files = workspace.files()
    write(tmp_path, "a.txt", "longer")
    with pytest.raises(WorkspaceError, match=r"a\.txt changed"):
        find_secrets(workspace, files, [])


@pytest.mark.parametrize(
    "text", ["hf_", "sk-proj-", "ghp_", "aws_secret_key" + " " * 50, "sk-proj-" + "_" * 60, "AKIA"]
)
def test_a_hostile_text_takes_no_exponential_time(tmp_path, text):
    write(tmp_path, "a.txt", text * (MAX_TEXT // len(text)))
    assert found(tmp_path) == {}
