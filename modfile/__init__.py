"""Package and ship AI models as OCI artifacts."""
