"""Pinecone as a store, by REST and gRPC."""
