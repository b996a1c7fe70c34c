"""Mapping section of a spec: what the target calls otherwise, and what stays behind on purpose."""

from collections.abc import Iterator

from pydantic import Field, model_validator

from vectorferry.core.model import RESERVED_NAMESPACE, FieldType
from vectorferry.spec.values import Section, Text


class Cast(Section):
    """What the values of a metadata key become in the target."""

    to: FieldType = Field(
        description="string, text: numbers and booleans by their canonical text. number, integer, boolean: their canonical texts by what "
        "they say. date (RFC 3339), uuid: texts that are one, as they are. Lists element by element."
    )

    @model_validator(mode="after")
    def _of_texts(self) -> "Cast":
        if self.to in (FieldType.GEO, FieldType.OBJECT):
            raise ValueError(f"nothing has an exact form as {self.to}")
        return self


class MergeInto(Section):
    """All namespaces of the source in one of the target, each record with its own under a key of the metadata."""

    into: str = Field("", description="The target's namespace; '' is the default one.")
    key: Text = Field(description="Metadata key that keeps the source's namespace.")


class NamespaceMapping(Section):
    """How the source's namespaces are called in the target, or what becomes of them there; at most one of the three."""

    rename: dict[str, str] = Field(
        default_factory=dict, description="Namespaces by their new names, one to one; '' is the default namespace."
    )

    property: Text | None = Field(
        None,
        description="Merge all into the default namespace, each record with its own namespace under this metadata key. Ids must be unique "
        "over all namespaces. Only with `writers: none`.",
    )
    merge: MergeInto | None = Field(None, description="The same, into a namespace of the target that is named.")

    @model_validator(mode="after")
    def _one_of_them(self) -> "NamespaceMapping":
        if sum((bool(self.rename), self.property is not None, self.merge is not None)) > 1:
            raise ValueError("give one of rename, property and merge: a namespace becomes one thing")
        return self

    def merged(self) -> MergeInto | None:
        """Where all namespaces lie together, None where each has its own."""
        return self.merge if self.property is None else MergeInto(key=self.property)


class MappingRules(Section):
    """How the target says what the source says; everything else in a spec is in the source's terms.

    What cannot be carried there and back exactly is refused for each record, as what the target cannot hold is.
    """

    rename: dict[Text, Text] = Field(default_factory=dict, description="Metadata keys by their new names, one to one.")
    cast: dict[Text, Cast] = Field(
        default_factory=dict, description="Metadata keys, by the source's names, whose values become others."
    )
    drop: list[Text] = Field(
        default_factory=list,
        description="Metadata keys that stay behind: records are moved and compared without them, and the evidence says so. Only with "
        "`writers: none`.",
    )
    namespaces: NamespaceMapping = Field(default_factory=NamespaceMapping)
    vectors: dict[str, str] = Field(
        default_factory=dict,
        description="Vectors by their new names, one to one; '' is the dense vector without a name. The sparse one without a name "
        "keeps its place.",
    )
    id: Text | None = Field(None, description="A metadata key of the target that keeps the record's id, too.")

    @model_validator(mode="after")
    def _one_to_one(self) -> "MappingRules":
        for place, rename in (
            ("mapping.rename", self.rename),
            ("mapping.namespaces.rename", self.namespaces.rename),
            ("mapping.vectors", self.vectors),
        ):
            for problem in _of_names(rename):
                raise ValueError(f"{place}: {problem}")
        merged = self.namespaces.merged()
        own = [key for key in (self.id, merged and merged.key) if key is not None]
        if len(set(own)) < len(own):
            raise ValueError(f"mapping: {own[0]!r} cannot keep both the record's id and its namespace")
        if merged and merged.into == RESERVED_NAMESPACE:
            raise ValueError(f"mapping.namespaces: {RESERVED_NAMESPACE!r} is where probes lie: merge into another one")
        if RESERVED_NAMESPACE in {*self.namespaces.rename, *self.namespaces.rename.values()}:
            raise ValueError(
                f"mapping.namespaces.rename: {RESERVED_NAMESPACE!r} is where probes lie, and keeps its name"
            )
        for section, keys in (("rename", self.rename), ("cast", self.cast)):
            if dropped := sorted(keys.keys() & {*self.drop}):
                raise ValueError(f"mapping.drop leaves {dropped[0]!r} behind, and mapping.{section} names it, too")
        for key in own:
            if key in {*self.rename, *self.rename.values(), *self.cast}:
                raise ValueError(
                    f"mapping: {key!r} is to keep what the record's metadata has not, and is renamed or cast: name another one"
                )
        return self


def _of_names(rename: dict[str, str]) -> Iterator[str]:
    taken: dict[str, str] = {}
    for old, new in rename.items():
        if old == new:
            yield f"{old!r} is renamed to itself"
        if new in taken:
            yield f"{taken[new]!r} and {old!r} would both become {new!r}"
        taken[new] = old
