"""A registry over the local store (OCI distribution specification): what is visible where, uploads, and HTTP."""
