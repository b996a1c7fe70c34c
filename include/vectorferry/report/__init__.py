"""Report of a run for people: every check with its figures, on one page."""
