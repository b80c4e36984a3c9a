"""MLflow: its model registry and its artifact stores, beside OCI registries."""
