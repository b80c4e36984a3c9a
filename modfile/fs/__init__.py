"""Artifacts as an fsspec file system: `modelpack://host/repository:tag/path`, to be read by ranges where they are.

pandas, h5py, `datasets` and others read such URLs once `modfile[fs]` is installed. It is read-only.
"""

from .filesystem import ModelPackFile, ModelPackFileSystem
from .paths import split

__all__ = ["ModelPackFile", "ModelPackFileSystem", "split"]
