"""Adapters to databases, one file each, behind the `VectorStore` protocol of `base`."""
