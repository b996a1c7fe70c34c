"""Pinecone's operations over backends, without a wire."""
