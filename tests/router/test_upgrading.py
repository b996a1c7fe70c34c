"""A journal that is brought to a newer version meanwhile: who runs goes on, who starts with the older one is refused."""

import pytest
import sqlalchemy as sa

from router.conftest import DIMENSION, Pair
from router.planting import eventually
from vectorferry.core.errors import JournalError
from vectorferry.router import Record


def upgrade(pair: Pair) -> None:
    """As a newer version's migration may: it only adds."""
    with pair.session.journal.database.transaction() as connection:
        for table in ("record_state", "member", "intent", "control"):
            connection.execute(sa.text(f"ALTER TABLE vectorferry.{table} ADD COLUMN newer text"))
        connection.execute(sa.text("UPDATE vectorferry.alembic_version SET version_num = '9999'"))


def test_a_router_that_runs_goes_on_under_a_newer_journal_and_none_of_the_older_version_starts(tracked: Pair) -> None:
    with tracked.router() as router:
        router.upsert("n", [Record("before", [0.5] * DIMENSION)])
        upgrade(tracked)
        router.upsert("n", [Record("after", [0.5] * DIMENSION)])
        tracked.settle()
        eventually(lambda: tracked.dirty() == 0)
        assert tracked.ids("target") == tracked.ids("source") == {"before", "after"}
        with pytest.raises(JournalError, match="revision 9999, this version of vectorferry needs"):
            tracked.router().open()
