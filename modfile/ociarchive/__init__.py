"""OCI archives: an OCI image layout in one tar file, as skopeo's `oci-archive:` and `docker save` have it."""

from .reader import OCIArchive
from .tarplan import TarPlan
from .writer import ArchiveWriter

__all__ = ["ArchiveWriter", "OCIArchive", "TarPlan"]
