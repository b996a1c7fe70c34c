"""Pinecone's wire protocol, REST and gRPC, in front of any store: the local Pinecone."""

from vectorferry.gateway.pinecone.faults import FaultRule, Faults
from vectorferry.gateway.pinecone.server import Gateway, GatewayConfig, run_gateway, stores_of

__all__ = ["FaultRule", "Faults", "Gateway", "GatewayConfig", "run_gateway", "stores_of"]
