"""Pipeline: every verb of the engine, the same under the DAG's tasks, the command line and the tests, as `pipeline.plan`.

    preflight -> begin (TRACK_A) -> plan -> each partition: export_partition, load_partition, check_partition -> settle
      -> merge (truth and answers) -> each partition: check_recall -> check_collection -> check_touched -> evidence
      -> approval -> cut_over, cohort by cohort -> verify

Beside what follows the partitions, and before the evidence: check_expectations, which waits for nothing else.

At any time once it is loaded: reconcile -> approval, where it is too much to repair without -> repair.
After the cut-over: prepare_rollback -> approval -> roll_back, or prepare_finalize -> approval -> finish.
`settle` and `check_touched` are there for what routers write meanwhile, and only where the spec expects writers.
Every step is idempotent and goes on where a killed one stopped. A failed check is recorded before it raises CheckFailed.

What may take hours (routers, the target's index, shadow reads, the watch between cohorts) is asked for by a verb that looks once and does
not wait: `routers_missing`, `index_missing`, `shadow_reads_missing`, `still_watched`; `load_partition` can leave where there is no room.
`running` waits by them in this process, the DAG in tasks that hold no worker.

A verb imports what it uses when it is called: who asks for a status must not wait for the libraries that measure recall.
The modules below are in the order of a migration's life; each hands on its verbs, and the types of what they return.
"""

from vectorferry.engine.pipeline.proposing import *  # isort: skip
from vectorferry.engine.pipeline.planning import *  # isort: skip
from vectorferry.engine.pipeline.moving import *  # isort: skip
from vectorferry.engine.pipeline.judging import *  # isort: skip
from vectorferry.engine.pipeline.signing import *  # isort: skip
from vectorferry.engine.pipeline.switching import *  # isort: skip
from vectorferry.engine.pipeline.settling import *  # isort: skip
from vectorferry.engine.pipeline.reconciling import *  # isort: skip
from vectorferry.engine.pipeline.keeping import *  # isort: skip
from vectorferry.engine.pipeline.ending import *  # isort: skip
from vectorferry.engine.pipeline.measuring import *  # isort: skip
from vectorferry.engine.pipeline.watching import *  # isort: skip
from vectorferry.engine.pipeline.running import *  # isort: skip
