"""Qdrant: one collection, its records as points, moved as protobuf messages whose vectors are buffers."""
