#!/usr/bin/env bash
# Brings the databases to this version and makes what the other services expect: users, roles, the staging bucket.
set -euo pipefail

airflow db migrate
airflow fab-db migrate
airflow sync-perm

airflow users create --username admin --password "$ADMIN_PASSWORD" --role Admin \
    --firstname Admin --lastname Admin --email admin@localhost
airflow users create --username operator --password "$OPERATOR_PASSWORD" --role Op \
    --firstname Operator --lastname Operator --email operator@localhost

# An approver answers questions and sees the runs, and can neither trigger, clear nor mark anything.
airflow roles create Approver
airflow roles add-perms Approver --action can_read --resource \
    Website "DAG Runs" "Task Instances" "HITL Detail" "DAG Dependencies" "Task Logs" XComs "DAG Code"
airflow roles add-perms Approver --action can_edit --resource "HITL Detail"
airflow roles add-perms Approver --action menu_access --resource "HITL Detail" DAGs
airflow users create --username approver --password "$APPROVER_PASSWORD" --role Approver \
    --firstname Approver --lastname Approver --email approver@localhost

python /opt/vectorferry/docker/make_bucket.py "$STAGING_BUCKET"
