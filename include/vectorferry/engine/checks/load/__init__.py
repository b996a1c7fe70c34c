"""Load: searches sent to a side at ever higher rates, by the clock, until it leaves its budget."""
