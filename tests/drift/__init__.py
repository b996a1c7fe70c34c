"""Planted drift: a pair that routers write to is made to differ through the vendors' own clients, reconciled, and judged.

    settings.py    what a run is made of
    rows.py        the records that are there at first
    hands.py       somebody else's hands in a database: the vendors' raw clients, which share no code with the product
    planting.py    differences of every kind, drawn from a seed, and the records that must not be touched
    world.py       servers, a migration between two of them, and its two sides as its judge sees them
    writers.py     applications that write through routers meanwhile
    commands.py    `vectorferry …` in a process of its own: what it said, how long it took, its peak memory, or its death
    story.py       one run from beginning to end, and what it came to

`make drift ROWS=100000 DRIFT=1000` runs it; the suite runs small ones.
"""
