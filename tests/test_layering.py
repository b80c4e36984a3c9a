"""Imports go one way, awkward dependencies have one door, and the source roots hide nothing of the standard library."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS = [
    {"errors"},
    {"content", "context", "backoff", "strictjson"},
    {"reference", "kind", "progress", "glob", "automaton", "paths", "instructions", "workers", "layerformat"},
    {"substitution", "rendering"},
    {"modelfile", "manifest", "ignorefile", "tree", "gitsource"},
    {
        "workspace",
        "modelpack",
        "store",
        "digestcache",
        "reflink",
        "descent",
        "mounts",
        "artifact",
        "referrer",
        "resumption",
        "listing",
    },
    {
        "modelconfig",
        "selection",
        "secretscan",
        "pickles",
        "weights",
        "filenames",
        "pipeline",
        "modelcard",
        "archive",
        "grouping",
        "foreign",
        "images",
    },
    {"partial", "metadata", "configschema", "staging", "swap", "removal", "unpack", "plan", "slices"},
    {"packedfiles"},
    {"comparison", "weightranges", "sides"},
    {"publication"},
    {"layout", "registry", "destination", "dragonfly", "mirror", "ociarchive"},
    {"lineage", "origins"},
    {"storage", "packer", "tarpacker", "layermaker", "whereabouts", "base", "serve", "importing"},
    {"verbs"},
    {"snapshots"},
    {"environment"},
    {"session"},
    {"pulling", "importers"},
    {"tensors"},
    {"description", "api", "fs", "mlflow"},
    {"__init__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

DOORS = {
    "lark": {"modfile.modelfile"},
    "oras": {"modfile.registry"},
    "requests": {"modfile.registry", "modfile.origins.web"},
    "urllib3": {"modfile.registry"},
    "grpc": {"modfile.dragonfly"},
    "google": {"modfile.dragonfly"},
    "rich": {"modfile_cmd"},
    "typer": {"modfile_cmd"},
    "pathspec": {"modfile.ignorefile"},
    "tarfile": {"modfile.archive", "modfile.ociarchive"},
    "backports": {"modfile.archive"},
    "compression": {"modfile.archive"},
    "platformdirs": {"modfile.environment"},
    "numpy": {"modfile.tensors"},
    "ml_dtypes": {"modfile.tensors"},
    "torch": {"modfile.tensors"},
    "fsspec": {"modfile.fs", "modfile.origins"},
    "huggingface_hub": {"modfile.origins"},
    "modelscope_hub": {"modfile.origins"},
    "mlflow": {"modfile.mlflow", "modfile.origins"},
    "starlette": {"modfile.serve"},
    "uvicorn": {"modfile.serve"},
    "bcrypt": {"modfile.serve"},
    "jinja2": {"modfile.serve.pages"},
    "markupsafe": {"modfile.serve.pages"},
    "markdown_it": {"modfile.serve.pages"},
}


def modules():
    for base in (ROOT, ROOT / "grammar", ROOT / "cmd"):
        for package in ("modfile", "modfile_grammar", "modfile_cmd"):
            for path in sorted((base / package).rglob("*.py")):
                yield path, ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


def imports(path, name):
    """Yield the absolute names of all that a module imports, at run time or for types."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            if node.module is None or module == "modfile":
                yield from (f"{module}.{alias.name}" for alias in node.names)


def layer(name):
    parts = name.split(".")
    return "__init__" if len(parts) == 1 else parts[1]


@pytest.mark.parametrize(("path", "name"), [pytest.param(*module, id=module[1]) for module in modules()])
def test_imports_go_one_way(path, name):
    if name.split(".")[0] != "modfile":
        return
    assert layer(name) in RANK, f"{name}: say in LAYERS where it belongs"
    for imported in imports(path, name):
        if imported.split(".")[0] in ("modfile_cmd", "modfile"):
            assert imported.split(".")[0] == "modfile", f"{name} imports {imported}"
            if imported != "modfile" and layer(imported) in RANK and layer(imported) != layer(name):
                assert RANK[layer(imported)] <= RANK[layer(name)], f"{name} imports {imported}"


@pytest.mark.parametrize(("path", "name"), [pytest.param(*module, id=module[1]) for module in modules()])
def test_awkward_dependencies_have_one_door(path, name):
    for imported in imports(path, name):
        doors = DOORS.get(imported.split(".")[0])
        assert doors is None or any(name == door or name.startswith(door + ".") for door in doors), imported


def test_the_library_neither_prints_nor_reads_the_environment_but_through_one_door():
    for path, name in modules():
        if name.split(".")[0] != "modfile" or name == "modfile.environment":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Call) else ""
            assert text not in ("os.environ", "sys.stdout", "sys.stderr"), f"{path}: {text}"
            assert not text.startswith(("print(", "os.getenv(", "Path.home(")), f"{path}: {text}"


def test_only_what_is_above_the_door_to_the_environment_looks_through_it():
    above = {name for names in LAYERS[RANK["environment"] :] for name in names}
    users = {name for path, name in modules() if "modfile.environment" in set(imports(path, name))}
    assert {layer(name) for name in users if name.split(".")[0] == "modfile"} <= above
    assert "modfile.session" in users


def test_importing_the_library_imports_none_of_its_parts():
    code = "import sys, modfile; print([name for name in sys.modules if name.startswith('modfile.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_source_roots_are_no_packages():
    for root in ("cmd", "grammar"):
        assert not list((ROOT / root).glob("*.py"))


def test_pdb_starts_from_the_root():
    """A package called `cmd` would hide the standard library's, which pdb imports."""
    command = [sys.executable, "-c", "import pdb, cmd; print(cmd.Cmd)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "cmd.Cmd" in done.stdout


def test_a_command_imports_only_what_it_needs():
    code = (
        "import sys, modfile_cmd.main;"
        "print([m for m in ('lark','oras','requests','rich','yaml','sqlite3','jsonschema') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
