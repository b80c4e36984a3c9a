"""OCI archives: an OCI image layout in one tar file, as skopeo's `oci-archive:` and `docker save` have it."""

from .incoming import Archive, open_archive, receive
from .reader import OCIArchive
from .spool import SpooledArchive
from .streamwriter import ArchiveStream
from .tarplan import TarPlan
from .writer import ArchiveWriter

__all__ = [
    "Archive",
    "ArchiveStream",
    "ArchiveWriter",
    "OCIArchive",
    "SpooledArchive",
    "TarPlan",
    "open_archive",
    "receive",
]
