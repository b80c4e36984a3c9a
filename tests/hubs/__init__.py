"""Model hubs on loopback that speak the endpoints of the real ones: Hugging Face, ModelScope, git with LFS."""
