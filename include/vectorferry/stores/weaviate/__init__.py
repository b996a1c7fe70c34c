"""Weaviate as a store, over gRPC and REST."""
