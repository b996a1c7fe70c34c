"""Adapters to databases behind the `VectorStore` protocol of `base`: one folder a database, with the same file names in each."""
