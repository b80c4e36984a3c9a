"""A push with chunks as small as is said, which the command line has no option for.

python -m tests.faults.sending REFERENCE STORAGE-DIRECTORY CHUNK-SIZE
"""

from __future__ import annotations

import sys
from pathlib import Path

from modfile.reference import Reference
from modfile.registry import Registry, RegistrySettings, UploadJournal
from modfile.storage import Storage
from modfile.verbs.push import push


def main() -> None:
    """Push."""
    reference, directory = Reference.parse(sys.argv[1]), Path(sys.argv[2])
    settings = RegistrySettings(chunk_size=int(sys.argv[3]))
    assert reference.host is not None
    registry = Registry(reference.host, settings, uploads=UploadJournal(directory / "uploads"))
    push(reference, Storage(directory).layout, registry.repository(reference.repository), concurrency=2)


if __name__ == "__main__":
    main()
