"""Package AI models as OCI artifacts, keep them in a local store, and move them to and from any registry."""

__version__ = "0.1.0"
