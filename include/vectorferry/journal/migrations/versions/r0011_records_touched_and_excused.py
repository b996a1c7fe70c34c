"""Indexes of records: which were touched since a generation, and which are excused, is asked without reading all that were ever written."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("CREATE INDEX record_state_touched ON vectorferry.record_state (migration, generation);")
    op.execute(
        "CREATE INDEX record_state_excused ON vectorferry.record_state (migration, namespace, id) WHERE excused;"
    )
