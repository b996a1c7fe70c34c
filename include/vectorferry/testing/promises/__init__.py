"""Promises of every store, one subject a file; each is a part of the suite `StoreContract`."""
