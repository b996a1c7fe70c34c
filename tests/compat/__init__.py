"""The package beside Airflows that were there before it, of each minor version that it runs on."""
