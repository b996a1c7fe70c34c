"""The contract of stores as one suite: subclass `StoreContract` and run it on a real server.

class TestExample(StoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, example: Server) -> Iterator[MakeStore]:
        with temporary_stores(lambda name, fields: open_store(connection, name, StoreOptions(fields=fields))) as make:
            yield make
"""

from vectorferry.testing.promises.acceptance import AcceptanceContract
from vectorferry.testing.promises.batch import BatchContract
from vectorferry.testing.promises.capacity import CapacityContract
from vectorferry.testing.promises.change_token import ChangeTokenContract
from vectorferry.testing.promises.collection import CollectionContract
from vectorferry.testing.promises.concurrent_scan import ConcurrentScanContract
from vectorferry.testing.promises.connection import ConnectionContract
from vectorferry.testing.promises.deletion import DeletionContract
from vectorferry.testing.promises.field import FieldContract
from vectorferry.testing.promises.filter import FilterContract
from vectorferry.testing.promises.key import KeyContract
from vectorferry.testing.promises.keyword import KeywordContract
from vectorferry.testing.promises.named_vector import NamedVectorContract
from vectorferry.testing.promises.reading import ReadingContract
from vectorferry.testing.promises.rejection import RejectionContract
from vectorferry.testing.promises.replacement import ReplacementContract
from vectorferry.testing.promises.round_trip import RoundTripContract
from vectorferry.testing.promises.search import SearchContract
from vectorferry.testing.promises.unique_key import UniqueKeyContract
from vectorferry.testing.promises.update import UpdateContract


class StoreContract(
    CollectionContract,
    RoundTripContract,
    ReplacementContract,
    NamedVectorContract,
    RejectionContract,
    AcceptanceContract,
    KeyContract,
    UniqueKeyContract,
    ReadingContract,
    ConcurrentScanContract,
    BatchContract,
    DeletionContract,
    SearchContract,
    FieldContract,
    FilterContract,
    KeywordContract,
    UpdateContract,
    ChangeTokenContract,
    CapacityContract,
    ConnectionContract,
):
    """Every promise of `VectorStore`, held against a real server.

    A gap is declared in `Capabilities`, and then the suite demands that it is refused row by row, never passed over in silence.

    A subclass overrides these fixtures:

    - `make_store` (class scope, required): a `MakeStore`, which opens stores on new collections and drops them at the end;
      `temporary_stores` makes one of a function that opens a collection by name and declared fields.
    - `wrong_key_store`: a store on the same server with a wrong key or password, which must raise Unauthorized.
    - `misnamed_store`: a store on a collection with a name that the database forbids.
    - `unreachable_store`: a store on a port where nothing listens, with `Caller(policy=RetryPolicy(attempts=2))`, which must raise
      Unavailable within seconds.
    - `plant_duplicate` (required where `unique_keys` is False): puts a second record with the key of one that is there, past the store.

    Without the other three, their tests are skipped. `store` (class scope, one collection with the declared fields FIELDS that many tests
    share) and `crowd` (class scope, a namespace of it with more rows than a page) are there for tests of the subclass's own.
    """
