"""Pinecone's wire: HTTP, gRPC, JSON, protobuf, TLS and keys."""
