"""Names and texts as SQL writes them, for statements that have parameters: psycopg takes a single percent sign for one."""


def quoted(name: str) -> str:
    """An identifier, whatever is in it."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def literal(text: str) -> str:
    """A string constant."""
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"
