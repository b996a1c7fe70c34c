"""`vectorferry schema`: prints the JSON Schema of spec files."""

import sys


def schema() -> None:
    """Print the JSON Schema of spec files, for editors."""
    import orjson

    from vectorferry.spec.migration import MigrationSpec

    text = orjson.dumps(MigrationSpec.model_json_schema(), option=orjson.OPT_INDENT_2)
    sys.stdout.write(text.decode() + "\n")
