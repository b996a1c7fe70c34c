"""Audited actions that more than one part of the engine looks for, and what their details are called."""

ASKED, ANSWERS = "ask_approval", "answerer"
DAG, RUN, TASK = "dag", "run", "task"
"""Where a question was asked: in which task of Airflow."""
EVIDENCE = "evidence"

BACKED_UP, RESTORE_DRILL = "backup", "restore_drill"
