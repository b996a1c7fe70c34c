"""The soak: real processes write, read, settle and switch while some are killed or stopped and the local Pinecone fails; then all that
they heard is judged.

    settings.py, values.py     what a run is made of; what is written, so that each value tells which write it came from
    world.py, processes.py     servers and migrations; processes with many lives
    client.py, driver.py       an application that calls its router at a fixed rate; an operator who switches forward and back
    child.py, chaos.py         what every process has in it to stop itself between check and send; who kills and stops whom
    crew.py, playing.py        one round: a migration from OFF, load, switches, rest
    logbook.py, gathering.py   what each process wrote down; from that, what is known of each key
    history.py                 the judge, which shares no code with the product
    timeline.py, summary.py    the phases as the journal's audit tells them; what a soak came to

`make soak MINUTES=5` runs it; `make soak SWITCHES=10 RATE=300 CHAOS=no` measures ten switches in a row under a fixed rate of writes.

What is assumed, as in docs/protocol.md: a stopped process sleeps for less than D, a second of which is left for the way of a request; the
local Pinecone, stopped, too. Its reads lag by answering from the past, so that killing it loses nothing that it acknowledged.
PostgreSQL, which holds the journal and one side, is not killed.
"""
