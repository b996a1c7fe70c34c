"""Evidence, the gate that it must pass, and the approval that signs it."""
