"""Pinecone's wire protocol, REST and gRPC, in front of any store: the local Pinecone.

The vendor's SDK works against it with `Pinecone(api_key=…, host="http://127.0.0.1:PORT")`. Each index is served over REST under
/ix/NAME of that port, as `host` of its description says, and over gRPC on a port of its own, since gRPC knows no path prefix; GET
/indexes/NAME tells it in the header `x-vectorferry-grpc-port`.

Extensions, all under /_vectorferry: GET health (no key needed), and faults: GET shows them, POST {"seed": 0, "rules": [{"kind":
"rate_limit", "rate": 0.1, "operations": ["reads"], "times": 5}]} replaces them, DELETE clears them. `FaultKind` and `FaultRule` in
`faults` say what there is.
"""

from vectorferry.gateway.pinecone.faults import FaultRule, Faults
from vectorferry.gateway.pinecone.server import Gateway, GatewayConfig, run_gateway, stores_of

__all__ = ["FaultRule", "Faults", "Gateway", "GatewayConfig", "run_gateway", "stores_of"]
