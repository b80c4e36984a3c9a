"""Registries: where content is kept that others get at, over the OCI distribution protocol and oras-py."""

from .credentials import Credential, CredentialStore
from .registry import Registry
from .settings import RegistrySettings

__all__ = ["Credential", "CredentialStore", "Registry", "RegistrySettings"]
