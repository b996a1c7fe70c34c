"""What people read and sign: evidence, Great Expectations' Data Docs, the approver's question."""
