"""The commands that need no registry, as a person types them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modfile.layout import Layout
from modfile.serve.links import Links

REF = "r.io/llm/tiny:v1"
TALLY = ["Moved", "Skipped", "Mounted", "Resumed", "Seconds", "BytesPerSecond"]
DIGEST = re.compile(r"sha256:[0-9a-f]{64}\n")


def test_a_model_goes_from_a_directory_to_the_store_and_back(modfile, model, tmp_path):
    (model / "Modelfile").unlink()
    assert modfile("generate").stdout == "Modelfile\n"
    digest = modfile("build", "-t", REF, ".").stdout
    assert DIGEST.fullmatch(digest)
    row = modfile("ls").stdout.splitlines()[1].split()
    assert row[:3] == ["r.io/llm/tiny", "v1", digest[7:19]]
    assert json.loads(modfile("inspect", REF).stdout)["Family"] == "bert"
    assert modfile("extract", REF, "--output", tmp_path / "out").stdout == f"{tmp_path / 'out'}\n"
    assert (tmp_path / "out/model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert modfile("rm", REF).stdout == f"{REF}\n"
    assert modfile("ls").stdout.splitlines()[1:] == []
    assert re.match(r"freed .* 1 of them untagged manifests", modfile("prune").stdout)


def test_results_are_alone_on_stdout(modfile, model):
    built = modfile("build", "-t", REF)
    assert DIGEST.fullmatch(built.stdout)
    assert "5 layers" in built.stderr
    assert modfile("-q", "build", "-t", REF).stderr == ""


def test_inspect_has_modctls_keys(modfile, model):
    modfile("build", "-t", REF)
    said = json.loads(modfile("inspect", REF, "--json").stdout)
    assert list(said) == (
        [
            "Id",
            "Digest",
            "Architecture",
            "CreatedAt",
            "Family",
            "Format",
            "Name",
            "ParamSize",
            "Precision",
            "Quantization",
            "Layers",
        ]
    )
    assert list(said["Layers"][0]) == ["MediaType", "Digest", "Size", "Filepath"]
    config = json.loads(modfile("inspect", REF, "--config").stdout)
    assert config["descriptor"]["name"] == "tiny"


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        (["generate", "--overwrite", "--json"], ["Path"]),
        (
            ["build", "-t", REF, "--json"],
            ["Digest", "References", "Layers", *TALLY],
        ),
        (["extract", REF, "-o", "out", "--json"], ["Reference", "Digest", "Directory", "Written", "Unchanged", *TALLY]),
        (["prune", "--json"], ["DryRun", "Bytes", "Partials", "Damaged", "Directories", "Manifests", "Blobs"]),
        (["version", "--json"], ["Version", "Python", "Platform"]),
    ],
)
def test_json_keys_are_stable(modfile, model, command, keys):
    modfile("build", "-t", REF)
    assert list(json.loads(modfile(*command).stdout)) == keys


def test_json_of_lists(modfile, model):
    modfile("build", "-t", REF)
    (row,) = json.loads(modfile("ls", "--json").stdout)
    assert list(row) == ["Repository", "Tag", "Digest", "CreatedAt", "Size"]
    assert json.loads(modfile("rm", REF, "--json").stdout) == [{"Reference": REF, "Digest": row["Digest"]}]
    assert json.loads(modfile("ls", "--json").stdout) == []


def test_ls_lists_newest_first_and_digests_once(modfile, model, monkeypatch):
    for number, epoch in enumerate([300, 100, 200]):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(epoch))
        modfile("build", "-t", f"r.io/a:v{number}", "-t", f"r.io/b:v{number}")
    rows = [line.split()[:2] for line in modfile("ls").stdout.splitlines()[1:]]
    assert rows == [[name, tag] for tag in ("v0", "v2", "v1") for name in ("r.io/a", "r.io/b")]
    assert len(modfile("ls", "-q").stdout.splitlines()) == 3


def test_what_lost_its_tag_is_listed_on_request(modfile, model):
    modfile("build", "-t", REF)
    modfile("rm", REF)
    assert modfile("ls", "--all").stdout.splitlines()[1].split()[:2] == ["r.io/llm/tiny", "<none>"]


def test_a_tag_is_another_name(modfile, model):
    digest = modfile("build", "-t", "tiny:v1").stdout
    modfile("tag", "tiny:v1", REF)
    assert modfile("ls", "-q").stdout == digest
    modfile("tag", f"r.io/llm/tiny@{digest.strip()}", "r.io/llm/tiny:v2")
    assert json.loads(modfile("inspect", "r.io/llm/tiny:v2").stdout)["Digest"] == digest.strip()


def test_builds_are_reproducible_on_request(modfile, model, monkeypatch):
    subprocess.run("git init -q; git add .; git -c user.name=a -c user.email=b commit -qm x", shell=True, check=True)
    first = modfile("build", "--no-creation-time").stdout
    subprocess.run("git -c user.name=a -c user.email=b commit -qm y --allow-empty", shell=True, check=True)
    os.utime("README.md", (5, 5))
    assert modfile("build", "--no-creation-time").stdout == first
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    epoch = modfile("build").stdout
    assert epoch != first
    assert modfile("build").stdout == epoch


def test_the_git_origin_is_recorded_without_credentials(modfile, model):
    origin = "https://bob:hunter2@git.example.com/tiny.git"
    subprocess.run(
        f"git init -q; git add .; git -c user.name=a -c user.email=b commit -qm x; git remote add origin {origin}",
        shell=True,
        check=True,
    )
    modfile("build", "-t", REF)
    out = modfile("inspect", REF, "--config").stdout
    said = json.loads(out)["descriptor"]
    assert said["sourceURL"] == "https://git.example.com/tiny.git"
    assert re.fullmatch("[0-9a-f]{40}", said["revision"])
    assert "hunter2" not in out
    Path("run.py").write_text("changed")
    modfile("build", "-t", REF, "--source-url", "https://elsewhere")
    said = json.loads(modfile("inspect", REF, "--config").stdout)["descriptor"]
    assert said["sourceURL"] == "https://elsewhere"
    assert said["revision"].endswith("-dirty")


def test_a_modelfile_may_have_another_name_and_place(modfile, model, tmp_path, monkeypatch):
    text = Path("Modelfile").read_text()
    Path("Other").write_text(text.replace("NAME tiny", "NAME other"))
    monkeypatch.chdir(tmp_path)
    modfile("build", "-f", "Other", "-t", "x", "tiny")
    assert json.loads(modfile("inspect", "x").stdout)["Name"] == "other"
    Path("Other").write_text(text.replace("NAME tiny", "NAME here"))
    modfile("build", "-f", "Other", "-t", "x", "tiny")
    assert json.loads(modfile("inspect", "x").stdout)["Name"] == "here"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "expected"),
    [
        (["build", "nowhere"], 3, "nowhere"),
        (["build", "-t", "Not/A:Ref"], 2, "names are lower case"),
        (["build", "-t", "a@sha256:" + "0" * 64], 2, "cannot choose its digest"),
        (["build", "-f", "Missing"], 3, "modfile generate"),
        (["build", "--bogus"], 2, "--bogus"),
        (["build", "-c", "0"], 2, "-c"),
        (["bogus"], 2, "bogus"),
        (["push", "tiny:v1"], 2, "modfile tag tiny:v1 HOST/tiny:v1"),
        (["pull", "tiny"], 2, "names no registry"),
        (["push", "127.0.0.1:9/x:v9"], 3, "not in the local store"),
        (["inspect", "tiny:v9"], 3, "not in the local store"),
        (["tag", "tiny:v9", "x"], 3, "not in the local store"),
        (["tag", "tiny:v9", "x@sha256:" + "0" * 64], 2, "a tag is given"),
        (["rm", "tiny:v9"], 3, "not in the local store"),
        (["extract", "tiny:v9", "-o", "out"], 3, "not in the local store"),
        (["extract", "tiny:v9"], 2, "--output"),
        (["generate"], 1, "--overwrite"),
        (["generate", "nowhere"], 3, "nowhere"),
        (["login", "r.io"], 2, "--username"),
        (["login", "r.io", "-u", "bob"], 2, "--password-stdin"),
        (["logout", "r.io"], 3, "r.io"),
        (["--log-level", "loud", "ls"], 2, "loud"),
        (["--config", "nowhere.toml", "ls"], 2, "nowhere.toml"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line_and_a_code(modfile, model, arguments, exit_code, expected):
    result = modfile(*arguments, exit_code=exit_code)
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    if exit_code != 2:
        assert len(result.stderr.splitlines()) == 1


def test_all_errors_of_a_modelfile_are_shown_with_a_caret(modfile, model):
    Path("Modelfile").write_text("NAME a\nNAME b\nMODLE *.safetensors\nMODEL *.gguf\n")
    error = modfile("build", exit_code=1).stderr
    assert "Modelfile:2:1:" in error
    assert "Modelfile:3:1:" in error
    assert "MODEL" in error
    assert "    ^" in error
    Path("Modelfile").write_text("NAME a\nMODEL *.gguf\nDOC *.pdf\n")
    error = modfile("build", exit_code=1).stderr
    assert "Modelfile:2:7:" in error
    assert "Modelfile:3:5:" in error


def test_of_several_to_remove_none_goes_if_one_is_missing(modfile, model):
    modfile("build", "-t", REF)
    modfile("rm", REF, "r.io/llm/tiny:v9", exit_code=3)
    assert len(modfile("ls").stdout.splitlines()) == 2


@pytest.mark.parametrize("epoch", ["yesterday", "-1", "1.5", "9" * 30, "٣"])
def test_an_epoch_that_is_none_is_refused(modfile, model, monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert "SOURCE_DATE_EPOCH" in modfile("build", exit_code=2).stderr


@pytest.mark.parametrize(
    "text",
    [
        "x = 1",
        "registry = 5",
        "[registry.'r.io']\nbogus = true",
        "[registry.'r.io']\nplain_http = 'yes'",
        "[registry]\n'r.io' = 1",
        "not toml",
        "[registry.'r.io']\nconcurrency = true",
    ],
)
def test_a_config_file_that_makes_no_sense_is_refused(modfile, tmp_path, text):
    (tmp_path / "config.toml").write_text(text)
    assert str(tmp_path / "config.toml") in modfile("--config", tmp_path / "config.toml", "ls", exit_code=2).stderr


def test_what_comes_from_outside_cannot_drive_the_terminal(modfile, model):
    Path("\x1b[31mred").write_text("x")
    Path("Modelfile").write_text("NAME x\nDOC *red\nNAME y\n")
    assert "\x1b" not in modfile("build", exit_code=1).stderr


def test_every_option_of_the_program_has_a_variable(modfile):
    text = modfile("--help").stdout
    for name in ("STORAGE_DIR", "LOG_LEVEL", "NO_PROGRESS", "QUIET", "CONFIG"):
        assert f"MODFILE_{name}" in text.replace("\n", "").replace(" ", "")


def test_every_commands_help_has_examples_and_exit_codes(modfile):
    def listed(*group):
        text = modfile(*group, "--help").stdout
        return re.findall(r"^  (\w+)", text.split("Commands:")[1].split("\n\n")[0], re.M)

    commands = [(name,) for name in listed() if name not in ("mlflow", "modelfile")]
    commands += [("mlflow", name) for name in listed("mlflow")]
    assert len(commands) >= 20
    for command in commands:
        text = modfile(*command, "--help").stdout
        assert "Exit codes: 0 " in text
        assert command == ("version",) or f"    modfile {' '.join(command)}" in text


def test_modelfile_generate_is_generate(modfile, model):
    (model / "Modelfile").unlink()
    assert modfile("modelfile", "generate").stdout == "Modelfile\n"


def program(*arguments, **options):
    code = "from modfile_cmd.main import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, **options)


def test_the_process_ends_with_the_code(model):
    assert program("ls").returncode == 0
    assert program("inspect", "nothing").returncode == 3
    assert program("bogus").returncode == 2


def test_a_reader_that_goes_away_is_no_traceback(model):
    code = "from modfile_cmd.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    process.wait(10)
    assert "Traceback" not in error


def test_an_interrupt_ends_with_130_and_leaves_the_store_whole(tmp_path, model):
    with Path("model.safetensors").open("r+b") as file:
        file.truncate(1 << 40)  # sparse: hashing it would take many minutes
    code = "from modfile_cmd.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "build", "-t", REF], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    ingest = tmp_path / "storage/store/ingest"
    while process.poll() is None and not list(ingest.glob("new-*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in error
    assert "interrupted" in error
    assert program("ls").stdout.splitlines()[1:] == []
    assert program("prune").returncode == 0
    assert list(ingest.iterdir()) == []


def test_what_has_no_pattern_is_not_everything(modfile, model):
    modfile("build", "-t", REF)
    for nothing in ("", ",", ",,"):
        assert "'**' is every file" in modfile("fetch", REF, "-o", "out", "--patterns", nothing, exit_code=2).stderr


def test_of_several_to_remove_that_depend_on_each_other_none_goes_if_one_is_missing(modfile, model):
    digest = modfile("build", "-t", REF).stdout.strip()
    modfile("rm", f"r.io/llm/tiny@{digest}", "r.io/llm/tiny:v9", exit_code=3)
    assert len(modfile("ls").stdout.splitlines()) == 2
    modfile("rm", f"r.io/llm/tiny@{digest}", REF)
    assert len(modfile("ls").stdout.splitlines()) == 1


def test_names_that_other_tools_wrote_can_be_used(modfile, model, tmp_path):
    modfile("build", "-t", REF)
    store = tmp_path / "storage/store"
    subprocess.run(["skopeo", "copy", "-q", f"oci:{store}:{REF}", f"oci:{store}:short"], check=True, timeout=60)
    modfile("tag", "short", "x:y")
    modfile("rm", "short")
    assert modfile("ls").stdout.count("short") == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--storage-dir", "", "ls"], "empty"),
        (["login", "http://r.io", "-u", "x", "-p", "y"], "host name"),
        (["logout", "bad host"], "host name"),
        (["login", "r.io", "-u", "x", "-p", "y", "--password-stdin"], "exclude each other"),
        (["upload", "run.py", "--repo", "r.io/a:v1"], "names a tag"),
        (["ls", "--remote", "r.io/a:v1"], "names a tag"),
        (["attach", "../x.json", "-s", "a", "-t", "b"], "--destination-dir"),
        (["push", "r.io/a", "--limit-rate", "fast"], "fast"),
        (["push", "r.io/a", "--limit-rate", "0"], "0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(modfile, model, tmp_path, arguments, expected):
    (tmp_path / "x.json").write_text("{}")
    assert expected in modfile(*arguments, exit_code=2).stderr


@pytest.mark.parametrize("text", ["concurrency = 0", "concurrency = -5", "concurrency = 1000"])
def test_a_concurrency_that_makes_no_sense_is_refused_where_it_is_said(modfile, tmp_path, text):
    (tmp_path / "config.toml").write_text(f"[registry.'r.io']\n{text}\n")
    assert "config.toml" in modfile("--config", tmp_path / "config.toml", "ls", exit_code=2).stderr


def test_odd_config_files_are_refused(modfile, tmp_path):
    assert "directory" in modfile("--config", tmp_path, "ls", exit_code=2).stderr
    modfile("--config", "/dev/null", "ls")
    (tmp_path / "deep").write_text("a = " + "[" * 5000)
    modfile("--config", tmp_path / "deep", "ls", exit_code=2)
    (tmp_path / "url").write_text("[registry.'http://r.io/']\n")
    assert "host name" in modfile("--config", tmp_path / "url", "ls", exit_code=2).stderr


def test_wrong_usage_is_one_line_of_the_process():
    done = program("build", "--bogus")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: No such option")
    assert done.stderr.endswith("see modfile build --help\n")
    assert len(done.stderr.splitlines()) == 1


def test_a_result_that_cannot_be_written_is_an_error():
    with Path("/dev/full").open("w") as full:
        code = "from modfile_cmd.main import main; main()"
        done = subprocess.run([sys.executable, "-c", code, "version"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_stdout_is_no_traceback():
    code = "from modfile_cmd.main import main; main()"
    command = f"'{sys.executable}' -c '{code}' ls >&-"
    assert "Traceback" not in subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True).stderr


def test_debug_lines_have_no_urls_with_what_lets_a_reader_in(modfile, model, registry):
    done = program("--log-level", "debug", "upload", "run.py", "--repo", f"{registry.host}/debug/x")
    assert done.returncode == 0
    assert "_state" not in done.stderr


def test_an_interrupt_that_gets_lost_ends_the_process_all_the_same(tmp_path):
    """As it does when it comes while an object is cleaned up."""
    code = """
import os, signal, sys, time
import modfile_cmd.main as program
class Lost:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
def work(**more):
    Lost()
    print("went on", flush=True)
    time.sleep(60)
program.app = work
program.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (130, "went on\n")


def test_prune_spares_what_clients_of_a_server_have_just_brought(modfile, tmp_path):
    layout, links = Layout(tmp_path / "storage" / "store"), Links(tmp_path / "storage" / "links")
    brought, loose = layout.add_bytes(b"brought", "a/b"), layout.add_bytes(b"loose", "a/b")
    links.add("a", brought.digest, brought.size)
    modfile("prune")
    assert (layout.exists(brought), layout.exists(loose)) == (True, False)
