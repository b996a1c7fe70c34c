"""All collections of a server, and the aliases that name them."""

import json
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import grpc
from qdrant_client import grpc as pb

from vectorferry.local.qdrant import files
from vectorferry.local.qdrant.collection import Collection
from vectorferry.local.qdrant.problems import Problem, bad_input, no_collection, not_found

_ALIASES = "aliases.json"
_MAX_NAME = 255
_UNFIT = frozenset('<>:"/\\|?*\0\x1f')


class Catalog:
    """The collections below a folder, which is this process's alone. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "collections"
        self._aliases_file = folder / _ALIASES
        self._folder.mkdir(parents=True, exist_ok=True)
        self._changing = threading.Lock()
        found = (Collection.load(each) for each in sorted(self._folder.iterdir()))
        self._collections = {each.name: each for each in found if each is not None}
        self._aliases: dict[str, str] = (
            json.loads(self._aliases_file.read_bytes()) if self._aliases_file.exists() else {}
        )

    def find(self, name: str) -> Collection:
        """The collection of a name or alias. Raises Problem."""
        found = self._collections.get(self._aliases.get(name, name))
        if found is None:
            raise no_collection(name)
        return found

    def exists(self, name: str) -> bool:
        """Whether there is a collection, or an alias of one."""
        return self._aliases.get(name, name) in self._collections

    def names(self) -> list[str]:
        """The collections' names, sorted."""
        return sorted(self._collections)

    def all(self) -> list[Collection]:
        """The collections."""
        return list(self._collections.values())

    def aliases(self) -> Mapping[str, str]:
        """The collection's name by alias."""
        return dict(self._aliases)

    def create(self, request: pb.CreateCollection) -> None:
        """Create a collection. Raises Problem for a name that is taken or unfit."""
        name = request.collection_name
        if not name or len(name.encode()) > _MAX_NAME or _UNFIT & set(name):
            raise bad_input(
                f"collection_name: value {name!r} invalid, must be 1 to 255 bytes without {''.join(sorted(_UNFIT))!r}"
            )
        with self._changing:
            if name in self._collections:
                raise Problem(grpc.StatusCode.ALREADY_EXISTS, f"Wrong input: Collection `{name}` already exists!")
            if name in self._aliases:
                raise bad_input(f"Can't create collection with name {name}. Alias with the same name already exists")
            self._collections[name] = Collection.create(self._folder / uuid.uuid4().hex, request)

    def drop(self, name: str) -> bool:
        """Remove a collection with its aliases; whether there was one."""
        with self._changing:
            found = self._collections.pop(name, None)
            if found is None:
                return False
            self._keep_aliases({alias: of for alias, of in self._aliases.items() if of != name})
            found.remove()
        return True

    def change_aliases(self, actions: Sequence[pb.AliasOperations]) -> None:
        """Do all actions, or none. Raises Problem."""
        with self._changing:
            changed = dict(self._aliases)
            for action in actions:
                kind = action.WhichOneof("action")
                if kind is None:
                    raise bad_input("Malformed AliasOperation type")
                _ACTIONS[kind](self, changed, getattr(action, kind))
            self._keep_aliases(changed)

    def close(self) -> None:
        """Close all collections."""
        with self._changing:
            for each in self._collections.values():
                each.close()

    def _keep_aliases(self, aliases: dict[str, str]) -> None:
        if aliases != self._aliases:
            files.replace(self._aliases_file, json.dumps(aliases, indent=1).encode())
            self._aliases = aliases

    def _create_alias(self, aliases: dict[str, str], action: pb.CreateAlias) -> None:
        if action.collection_name not in self._collections:
            raise no_collection(action.collection_name)
        if action.alias_name in self._collections:
            raise Problem(
                grpc.StatusCode.ALREADY_EXISTS, f"Wrong input: Collection `{action.alias_name}` already exists!"
            )
        aliases[action.alias_name] = action.collection_name

    def _delete_alias(self, aliases: dict[str, str], action: pb.DeleteAlias) -> None:
        aliases.pop(action.alias_name, None)

    def _rename_alias(self, aliases: dict[str, str], action: pb.RenameAlias) -> None:
        if action.old_alias_name not in aliases:
            raise not_found(f"Alias {action.old_alias_name} does not exists!")
        if action.new_alias_name in self._collections:
            raise Problem(
                grpc.StatusCode.ALREADY_EXISTS, f"Wrong input: Collection `{action.new_alias_name}` already exists!"
            )
        aliases[action.new_alias_name] = aliases.pop(action.old_alias_name)


_ACTIONS: Mapping[str, Callable[..., None]] = {
    "create_alias": Catalog._create_alias,  # noqa: SLF001
    "delete_alias": Catalog._delete_alias,  # noqa: SLF001
    "rename_alias": Catalog._rename_alias,  # noqa: SLF001
}
