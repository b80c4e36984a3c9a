"""Registries: where content is kept that others get at, over the OCI distribution protocol and oras-py."""

from .credentials import Credential, CredentialStore
from .registry import Registry
from .settings import RegistrySettings
from .throttle import Throttle
from .uploads import UploadJournal

__all__ = ["Credential", "CredentialStore", "Registry", "RegistrySettings", "Throttle", "UploadJournal"]
