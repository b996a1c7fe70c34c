"""The parts of the contract: what every store promises, one subject a file."""
