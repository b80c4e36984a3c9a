"""The examples run, as they stand in the README."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def running():
    """Yield the command lines of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes()


def run_example(name):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MODFILE_")}
    program = [ROOT / f"examples/{name}.sh"]
    done = subprocess.run(
        program, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [command for command in running() if str(ROOT / f".{name}").encode() in command]
    return done


def test_the_quickstart_takes_a_real_model_to_a_registry_and_back_and_leaves_no_process():
    for _ in range(2):  # from scratch, and again
        done = run_example("quickstart")
        for line in ("PARAMSIZE 22.7M", "PRECISION float32", "FORMAT safetensors", "FAMILY bert", "ARCH transformer"):
            assert line in done.stdout
        assert "LICENSE apache-2.0" in done.stdout
        assert "13 already there" in done.stderr
        assert "12 files are the same" in done.stdout


def test_a_model_goes_into_a_closed_network_and_no_process_is_left():
    done = run_example("closed-network")
    assert "small.tar: OK" in done.stdout
    assert "the files are the same" in done.stdout
    assert "loaded 1 artifact from standard input" in done.stderr


def test_layers_of_every_format_come_back_as_they_went():
    done = run_example("layerformats")
    assert "all the files came back the same" in done.stdout
    assert "601 files are right" in done.stdout + done.stderr


def test_an_adapter_goes_to_a_registry_and_to_a_machine_without_its_base_and_no_process_is_left():
    done = run_example("lora")
    assert "3 mounted (4.2 MB)" in done.stderr
    assert "3 already there (4.2 MB)" in done.stderr
    assert "5 (2 own)" in done.stdout
    assert "the files are the same" in done.stdout


def test_two_versions_are_compared_and_what_would_move_is_what_then_moves():
    done = run_example("diff")
    assert "    ~ head  F32 [64, 8] -> F32 [64, 16]" in done.stdout
    assert "    ~ layer.1  F32 [64, 64]  other contents" in done.stdout
    assert "+ evaluate.py  19 bytes" in done.stdout
    for told in ("4 of 6 pieces would be stored", "4 of 6 pieces would be sent", "4 of 6 pieces would be fetched"):
        assert f"{told} (106.0 kB); the tag v2 would be new" in done.stderr
    assert "1 of 5 pieces would be sent (2.3 kB), 4 mounted" in done.stderr
    assert "mounted from llm/tiny" in done.stdout
    assert "0 of 6 pieces would be sent (0 bytes); the tag v2 points there already" in done.stderr


def test_pieces_of_a_model_come_without_the_rest():
    done = run_example("pieces")
    assert "layer.0.weight F32 [512, 512]\n" in done.stdout
    assert "2 tensors in some/tensors.safetensors" in done.stderr
    assert "layer.3.weight (512, 512) 3.0\nlayer.4.weight (512, 512) 4.0\n" in done.stdout
    assert "layer.7.weight (512, 512) 7.0 and (10, 512) of layer.9.weight" in done.stdout
    assert "['config.json', 'data', 'model.safetensors']" in done.stdout


def test_a_model_goes_from_a_hub_to_a_registry_and_into_hugging_faces_cache():
    done = run_example("import")
    assert "20.0 MB of 3 files would be downloaded" in done.stderr
    assert "4 brought (20.0 MB)" in done.stderr
    assert "nothing was written to this disk" in done.stdout
    assert "unchanged since it was imported" in done.stderr
    assert "-image@sha256:" in done.stdout
    assert "the files are the same" in done.stdout


def test_an_artifact_and_an_image_are_made_of_one_set_of_layers_and_no_process_is_left():
    done = run_example("images")
    assert "built 3 layers: 6 sent" in done.stderr
    assert "built 3 layers: 6 already there" in done.stderr
    assert "bundle-arm64/rootfs/models/onnx:" in done.stdout
    assert "the files are the same" in done.stdout


def test_a_model_is_packed_pulled_and_read_from_python_and_nothing_is_left(tmp_path):
    program = [sys.executable, ROOT / "examples/load_in_python.py"]
    environment = {
        "PATH": "",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "grammar")]),
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(program, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "safetensors, 12 parameters" in done.stdout
    assert "layer.2.weight F32 [2, 2] (2.0, 3.0, 4.0, 5.0)" in done.stdout
    assert list(tmp_path.iterdir()) == []
