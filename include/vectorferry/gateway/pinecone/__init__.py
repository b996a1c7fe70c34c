"""Pinecone's wire protocol, REST and gRPC, in front of stores of the gateway's own (the local Pinecone) or of a router.

The vendor's SDK works against it with `Pinecone(api_key=…, host="http://127.0.0.1:PORT")`. Each index is served over REST under
/ix/NAME of that port, as `host` of its description says, and over gRPC on a port of its own, since gRPC knows no path prefix; GET
/indexes/NAME tells it in the header `x-vectorferry-grpc-port`. `emulator` makes the local Pinecone, `server` serves any indexes,
`inprocess` is the vendor's SDK without a wire.

Extensions: GET /livez and /readyz (no key needed), and under /_vectorferry GET calls (who got what how often) and faults: GET shows
them, POST {"seed": 0, "rules": [{"kind": "rate_limit", "rate": 0.1, "operations": ["reads"], "times": 5}]} replaces them, DELETE clears
them. `FaultKind` and `FaultRule` in `faults` say what there is.
"""
