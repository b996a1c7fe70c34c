"""An exhaustive model of the live-write protocol: all that can happen to one key (and to two cohorts) within small bounds.

Each guard of the protocol can be taken away by name, and then a search finds the shortest schedule by which something is lost; with
all of them it finds none. `configurations.counterexample(configuration, guard)` gives such a schedule as data, a tuple of
`Step(actor, action, detail)`; `counterexamples()` the shortest of each guard. Everything is deterministic.

    explorer.py         breadth-first search, schedules, backward reachability ("no state is stuck")
    state.py            configurations, the state, what every actor asks about it
    routers.py          a member's write, its mirror, its lease           rules 2, 3, 4, 10
    copiers.py          loader and settler                                rules 5, 6, 8
    protocol.py         the switch, DONE, and what must never be seen     rules 1, 7; invariants I1 to I5, I13, I14
    cohorts.py          two cohorts with a control row each
    configurations.py   worlds, the guards that are necessary in each, counterexamples

`pytest tests/model` explores what is small (about 80 s on one idle core); `make model` all of it (six
minutes more), and prints states, seconds and the length of each schedule.

What is in it. One key that two routers write once each (a put and a delete, or a partial update, which makes of the row what it
was and more), a loader, a settler, a switch that
may step either way at any time, stores that fail, time out, deliver late or never; every process may stop at every step. By world:

    leases              TRACK_A to TRACK_B; leases lapse, members are evicted and rejoin                 108,384 states
    life                OFF to TRACK_B and back, with the load                                            47,571
    mirror              the second write, which may time out, land late, and clean the row                13,844
    reload              load and reload under mirrored writes                                             46,574
    excused             a row that B rejects, in both directions, with mirror                             14,190
    excused leases      the same with leases, without mirror                                             121,226
    excused load        the load excuses the row                                                          35,152
    lossy, ... partial  B holds an image of the row; partial updates of it                                15,932  15,058
    partial, ... life   a partial update beside a put, with mirror; OFF to TRACK_B with the load          14,904  61,227
    ... load, excused   a partial update while the load excuses the row                                   17,995
    rejected            an application writes what B rejects                                               1,040
    delays, ... mirror  reads of either store may lag behind its writes                                   28,876  46,726
    load, A (B) delayed OFF and TRACK_A, with the load, where reads of one store lag                      54,563  48,324
    done                TRACK_A to DONE, and A handed back                                                16,229
    cohorts, ... done   two cohorts, a member that dies                                                   24,480   1,226
    big ones            leases in life, mirror, excused, done, delays; two late requests      149,892 to 391,526

What is not: more than two writes of a key, or more than one late request at a time (two in a big world); batches, deletes by filter;
approvals, evidence, the hold's budget (the switch steps whenever it may); a lost or restored journal (rule 9); members of OFF that
die; leases while phases are untracked; a process that pauses for longer than lease + D between its check and its send; clocks. A
fault is a read older than an acknowledged write: that an unacknowledged write was seen and is gone again is found only where the row
rests clean with unequal stores.

Where the design's text and this model differ:

- Rule 10's "had no other intent" and rule 7's "or open" say nothing new: an open intent keeps its row dirty (checked). The guard is
  kept as `mirror_alone`, and a test shows that it changes nothing.
- Rule 2's check of the lease before acknowledging is not needed: what was sent under the lease is open, or left dirty, until it can
  no longer land. The model lets a lapsed member acknowledge. An excuse is lifted under the lease only.
- Rule 1's "with what it has in flight" does not mean requests that timed out: their open intents hold the flip back. Only out of OFF,
  where nothing is tracked, does a late request delay the acknowledgement.
- Rule 5 has to say that dirty rows and open intents outlive a step back to OFF (`off_keeps`).
- Rules 5 and 8: the look for extras at the end of a load has to wait out B's visibility delay, as the load waits out A's (`extras_wait`).
- Rule 7's wait counts from the last write of anybody to the new authority, mirrored writes too (`flip_waits` in "delayed mirror").
- "An excused row is never overwritten in A" cannot hold against the application: its acknowledged put or delete in TRACK_B would be
  lost by a rollback. A write that is done ends the excuse, in the journal, before it is acknowledged (`router_lifts`,
  `lift_before_ack`); settle ends it before it copies what it found in B (`lift_before_copy`), and when it finds in A what B can hold
  (`settle_lifts`). A write that fails, or a delete whose outcome is unknown, leaves the row in A.
- A partial update of an excused row has to be refused in TRACK_B too: its result there is made from what B has instead
  (`refuse_partial`).
- Rule 4, that a store merges a partial update itself, is necessary (`native_update`): two members that write one key at once need no
  more than that to lose a put. An update of a row that is not there makes nothing, and is done.
- In rule 10, "after the authority's acknowledgement" is necessary for excused rows only (`mirror_after_done`); elsewhere settle
  would mend what an early mirror did.
- DONE: A is free when every member has acknowledged DONE, nothing tracked can land any more, and every cohort is done; not when DONE
  is published. Settle has to stop at the publication. What members of TRACK_B still write after it leaves rows dirty for ever: they
  are no backlog. `done_clean` holds in the code for the writes up to the comparison that was approved; later ones may be dirty when
  DONE is published, and A then lacks them, as it lacks what is written in DONE: no read of A follows.
"""
