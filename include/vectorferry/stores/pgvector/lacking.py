"""Lacking in PostgreSQL, in every layout of it: aliases, and keyword search that a store could ask."""

from vectorferry.core.errors import Unsupported
from vectorferry.core.model import Vectors
from vectorferry.stores.pgvector.requirements import Server


class Lacking:
    """What a store of PostgreSQL refuses, whatever its tables look like; and what it says of its server."""

    def _server(self) -> Server:
        raise NotImplementedError

    def server_version(self) -> str:
        """Of PostgreSQL and of the extension."""
        return str(self._server())

    @property
    def name(self) -> str:
        """Product and collection for messages."""
        raise NotImplementedError

    def keyword(
        self, namespace: str, field: str, words: str, k: int, *, near: Vectors | None = None, vector: str = ""
    ) -> tuple[str, ...]:
        """Raises Unsupported: there is no index over words."""
        del namespace, field, words, k, near, vector
        raise Unsupported("has no keyword search", store=self.name)

    def alias_target(self, alias: str) -> str | None:
        """Not supported."""
        del alias
        raise Unsupported("there are no aliases", store=self.name)

    def refuse_alias(self, alias: str) -> None:
        """Raises Unsupported."""
        del alias
        raise Unsupported("there are no aliases", store=self.name)

    def point_alias(self, alias: str) -> None:
        """Not supported."""
        del alias
        raise Unsupported("there are no aliases", store=self.name)
