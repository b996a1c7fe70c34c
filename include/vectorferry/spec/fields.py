"""Fields of a spec: metadata keys with their types, in a short form or with options."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from vectorferry.core.model import FieldOptions, FieldType
from vectorferry.spec.values import Section, Text, shown

_TEXTS = frozenset({FieldType.STRING, FieldType.TEXT})


class FieldForm(Section):
    """A field with options. Without any it is the same as its type alone."""

    type: FieldType = Field(description=f"One of {', '.join(FieldType)}.")
    searchable: bool | None = Field(
        None, description="Whether keyword search finds its words; not given: those of `text` and `texts`."
    )
    filterable: bool = Field(True, description="Whether filters look it up in an index.")
    tokenization: (
        Literal["word", "lowercase", "whitespace", "field", "trigram", "gse", "kagome_ja", "kagome_kr"] | None
    ) = Field(
        None,
        description="How text becomes words, as Weaviate names it; default: `field` for a string, `word` for text.",
    )

    @model_validator(mode="after")
    def _options_of_text(self) -> "FieldForm":
        if self.type.item not in _TEXTS and (self.searchable or self.tokenization):
            raise ValueError(f"searchable and tokenization are for string, text and lists of them, not for {self.type}")
        return self

    @property
    def options(self) -> FieldOptions:
        """The options as stores take them."""
        return FieldOptions(self.searchable, self.filterable, self.tokenization or "")


def _form(value: Any) -> Any:
    if isinstance(value, (dict, FieldForm)):
        return value
    if isinstance(value, str) and value in list(FieldType):
        return FieldForm(type=FieldType(value))
    known = ", ".join(repr(str(each)) for each in FieldType)
    raise ValueError(f"{shown(value)} is no type of a field: known are {known}; options need `type:` and the others")


_Form = Annotated[FieldForm, BeforeValidator(_form, json_schema_input_type=FieldType | FieldForm)]


class Fields(dict[str, FieldType]):
    """Metadata keys and their types; `options` has those of the fields that have some."""

    def __init__(self, types: Mapping[str, FieldType] = {}, options: Mapping[str, FieldOptions] = {}) -> None:
        super().__init__(types)
        self.options = dict(options)

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.options == getattr(other, "options", {})

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls._of_forms,
            handler.generate_schema(dict[Text, _Form]),
            serialization=core_schema.plain_serializer_function_ser_schema(cls._written),
        )

    @classmethod
    def _of_forms(cls, forms: Mapping[str, FieldForm]) -> "Fields":
        plain = FieldOptions()
        options = {name: form.options for name, form in forms.items() if form.options != plain}
        return cls({name: form.type for name, form in forms.items()}, options)

    def _written(self) -> dict[str, Any]:
        """The short form wherever it says all: the fingerprints of a spec do not depend on how it is written."""
        return {name: self._form_of(name, kind) for name, kind in self.items()}

    def _form_of(self, name: str, kind: FieldType) -> Any:
        given = self.options.get(name)
        if given is None:
            return str(kind)
        form = FieldForm(
            type=kind,
            searchable=given.searchable,
            filterable=given.filterable,
            tokenization=given.tokenization or None,
        )
        return form.model_dump(mode="json", exclude_defaults=True)
