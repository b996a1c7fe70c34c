"""Reconciliation: finds drift between both sides and repairs it."""
