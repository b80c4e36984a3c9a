"""Parts of an image that were pulled, and are asked for again when no registry is to be asked."""

import pytest

import modfile
from modfile import Session
from modfile.errors import NotFoundError
from modfile.snapshots import Snapshots, spared
from modfile.verbs.prune import prune


@pytest.fixture
def image(tmp_path, fake, model):
    name = f"{fake.host}/llm/tiny:v1"
    with Session(tmp_path / "builder") as builder:
        modfile.build(model, name, reproducible=True, format="image", session=builder)
        modfile.push(name, session=builder)
    return name


@pytest.mark.parametrize("pruned", [False, True], ids=["as it was pulled", "after a prune"])
@pytest.mark.parametrize("by_digest", [False, True], ids=["by tag", "by digest"])
def test_parts_of_an_image_are_found_again_without_a_registry(image, session, pruned, by_digest):
    path = modfile.pull(image, allow_patterns="*.json", session=session)
    layout = session.storage.layout
    if pruned:
        snapshots = Snapshots(session.storage_directory / "models", layout)
        assert prune(layout, spared=lambda: spared(snapshots)).blobs  # the layers
    name = f"{image.removesuffix(':v1')}@sha256:{path.name}" if by_digest else image
    assert modfile.pull(name, allow_patterns="*.json", local_files_only=True, session=session) == path
    assert (path / "config.json").is_file()
    with pytest.raises(NotFoundError, match="only in part"):
        modfile.pull(name, local_files_only=True, session=session)
