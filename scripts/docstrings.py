"""The standard library's docstrings as records of the demo's data set: where they come from, their ids, namespaces and metadata."""

import ast
import importlib
import inspect
import os
import re
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIN_CHARS = 13
EXCERPT = 200
SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "__pycache__"}
C_MODULES = (
    "builtins", "_abc", "_ast", "_asyncio", "_bisect", "_blake2", "_bz2", "_codecs", "_collections", "_contextvars",
    "_csv", "_ctypes", "_curses", "_curses_panel", "_datetime", "_decimal", "_elementtree", "_functools",
    "_hashlib", "_heapq", "_io", "_json", "_locale", "_lsprof", "_lzma", "_multiprocessing", "_operator", "_pickle",
    "_queue", "_random", "_sha3", "_signal", "_socket", "_sqlite3", "_ssl", "_stat", "_struct", "_thread",
    "_tracemalloc", "_weakref", "_zoneinfo", "array", "atexit", "audioop", "binascii", "cmath", "faulthandler",
    "fcntl", "gc", "grp", "itertools", "marshal", "math", "mmap", "posix", "pwd", "pyexpat", "readline", "resource",
    "select", "sys", "termios", "time", "unicodedata", "zlib",
)  # fmt: skip

LARGE = "stdlib"
INTERNET = "internet/http, urllib and friends"
ARCHIVES = "archiving.and.compression: zlib, gzip, bz2, lzma, zipfile, tarfile, shutil"
# The longest prefix of a module's name decides; what is not listed goes to the one large namespace.
NAMESPACES = {
    "builtins": "",
    **dict.fromkeys(("asyncio", "_asyncio"), "asyncio"),
    **dict.fromkeys(("email", "mailbox"), "email"),
    "email.mime": "email.mime",
    "logging": "logging",
    "tkinter": "tkinter",
    "xml": "xml",
    "pyexpat": "xml",
    "xml.etree": "xml.etree",
    "_elementtree": "xml.etree",
    **dict.fromkeys(("multiprocessing", "concurrent", "_multiprocessing"), "multiprocessing"),
    **dict.fromkeys(("unittest", "doctest"), "unittest"),
    **dict.fromkeys(("http", "urllib", "wsgiref", "xmlrpc", "socketserver", "ftplib", "smtplib"), INTERNET),
    **dict.fromkeys(
        ("zlib", "gzip", "bz2", "_bz2", "lzma", "_lzma", "zipfile", "tarfile", "shutil", "_compression"), ARCHIVES
    ),
    "_decimal": "decimal",
    "_pydecimal": "decimal/pure-python",
    **dict.fromkeys(
        ("collections", "_collections", "_collections_abc", "enum", "array", "weakref", "types"),
        "data types.collections",
    ),
    **dict.fromkeys(("pathlib", "tempfile", "glob", "fnmatch", "filecmp", "fileinput", "stat", "_stat", "os"), "files"),
    **dict.fromkeys(("datetime", "_datetime", "calendar", "time", "_strptime"), "date and time"),
    **dict.fromkeys(
        ("re", "string", "textwrap", "difflib", "unicodedata", "stringprep", "codecs", "_codecs"), "text.processing"
    ),
    **dict.fromkeys(("math", "cmath", "statistics", "random", "_random", "fractions", "numbers"), "maths"),
    **dict.fromkeys(("posixpath", "genericpath"), "os.path"),
    "ntpath": "os/path",
    **dict.fromkeys(("json", "_json"), "json"),
    "uuid": "uuid",
    **dict.fromkeys(("operator", "_operator"), "operator"),
    "tomllib": "tomllib",
    **dict.fromkeys(("zoneinfo", "_zoneinfo"), "zoneinfo"),
    "graphlib": "graphlib",
    "dataclasses": "dataclasses",
    **dict.fromkeys(("secrets", "hmac"), "secrets & hmac"),
    "wave": "wave",
    **dict.fromkeys(("bisect", "_bisect"), "bisect"),
    **dict.fromkeys(("heapq", "_heapq"), "Heap_Queue-1"),
}
# Two implementations of one public module: their ids meet, in different namespaces.
PUBLIC_MODULE = {"_decimal": "decimal", "_pydecimal": "decimal", "posixpath": "os.path", "ntpath": "os.path"}
IDS = {
    "urllib.parse.quote_plus": "urllib.parse.quote%20plus",
    "urllib.parse.unquote_plus": "urllib.parse.unquote%2Bplus",
    "string.Formatter.format": "100% string formatting?",
    "uuid.UUID": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
}
NO_METADATA = {"wave", "sndhdr", "chunk"}
# The release that brought a module: a number, or a text where it came with a pre-release.
SINCE: dict[str, float | str] = {
    "argparse": 3.2, "asyncio": 3.4, "asyncio.runners": 3.7, "asyncio.taskgroups": "3.11a6", "asyncio.timeouts": "3.11a7",
    "concurrent": 3.2, "contextvars": 3.7, "dataclasses": 3.7, "email.contentmanager": 3.4, "email.policy": 3.3, "enum": 3.4,
    "graphlib": 3.9, "importlib": 3.1, "importlib.metadata": 3.8, "importlib.resources": 3.7, "ipaddress": 3.3, "lzma": 3.3,
    "pathlib": 3.4, "secrets": 3.6, "selectors": 3.4, "statistics": 3.4, "tomllib": "3.11a7", "tracemalloc": 3.4,
    "unittest.async_case": 3.8, "unittest.mock": 3.3, "venv": 3.3, "wsgiref.types": 3.11, "zipapp": 3.5, "zoneinfo": 3.9,
}  # fmt: skip
RELEASED = {
    3.1: "2009-06-27T00:00:00Z", 3.2: "2011-02-20T00:00:00Z", 3.3: "2012-09-29T00:00:00Z", 3.4: "2014-03-16T00:00:00Z",
    3.5: "2015-09-13T00:00:00Z", 3.6: "2016-12-23T00:00:00Z", 3.7: "2018-06-27T00:00:00Z", 3.8: "2019-10-14T00:00:00Z",
    3.9: "2020-10-05T00:00:00Z", 3.11: "2022-10-24T00:00:00Z", "3.11a6": "2022-03-07T00:00:00+01:00",
    "3.11a7": "2022-04-05T00:00:00.000+02:00",
}  # fmt: skip
NAMES = {
    "argparse": "разбор аргументов", "asyncio": "非同期 I/O", "calendar": "ημερολόγιο 📅", "collections": "컬렉션",
    "csv": "valeurs séparées par des virgules", "datetime": "日付と時刻", "decimal": "Dezimalbrüche", "email": "電子メール ✉️",
    "fractions": "⅓ дроби", "json": "ג׳ייסון", "locale": "Gebietsschema: Straße, İstanbul", "logging": "journalisation",
    "math": "∑ mathématiques", "pathlib": "rutas de archivos: señal", "queue": "待ち行列", "random": "случайные числа",
    "re": "expressions re\u0301gulie\u0300res", "socket": "ซ็อกเก็ต", "string": "chaînes", "turtle": "🐢 черепаха",
    "unicodedata": "यूनिकोड डेटाबेस", "xml": "لغة الترميز القابلة للامتداد",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One documented object: `qualname` is empty for a module; `path` is empty, `line` and `length` (in lines) are 0 for C code."""

    module: str
    qualname: str
    kind: str
    text: str
    line: int = 0
    length: int = 0
    parameters: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    path: str = ""

    @property
    def title(self) -> str:
        return f"{self.module}.{self.qualname}" if self.qualname else self.module


def collect() -> list[Entry]:
    """All docstrings in a fixed order: built-ins, then Python modules by path, then the other C modules."""
    builtins, *others = C_MODULES
    entries = [*c_entries(builtins), *python_entries(Path(os.__file__).parent)]
    entries += [entry for name in others for entry in c_entries(name)]
    return [entry for entry in entries if len(entry.text) >= MIN_CHARS]


def python_entries(root: Path) -> Iterator[Entry]:
    for path in sorted(root.rglob("*.py")):
        if not SKIPPED_FOLDERS.intersection(path.relative_to(root).parts):
            yield from module_entries(path, root)


def module_entries(path: Path, root: Path) -> Iterator[Entry]:
    source = path.read_bytes()
    tree = ast.parse(source)
    relative = path.relative_to(root)
    module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    if text := ast.get_docstring(tree):
        yield Entry(module, "", "module", text.strip(), 1, source.count(b"\n"), path=relative.as_posix())
    yield from nested_entries(tree, module, "")


def nested_entries(parent: ast.AST, module: str, scope: str) -> Iterator[Entry]:
    for node in ast.iter_child_nodes(parent):
        inner = scope
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if text := ast.get_docstring(node):
                yield definition(
                    node, module, scope + node.name, text.strip(), in_class=isinstance(parent, ast.ClassDef)
                )
            inner = f"{scope}{node.name}."
        yield from nested_entries(node, module, inner)


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def definition(node: Definition, module: str, qualname: str, text: str, *, in_class: bool) -> Entry:
    place = (
        module,
        qualname,
        kind_of(node, in_class),
        text,
        node.lineno,
        (node.end_lineno or node.lineno) - node.lineno + 1,
    )
    if isinstance(node, ast.ClassDef):
        return Entry(*place, bases=tuple(ast.unparse(base) for base in node.bases), tags=tags_of(node, text))
    return Entry(*place, parameters=parameters_of(node.args), tags=tags_of(node, text))


def kind_of(node: Definition, in_class: bool) -> str:
    if isinstance(node, ast.ClassDef):
        return "class"
    if isinstance(node, ast.AsyncFunctionDef):
        return "coroutine"
    return "method" if in_class else "function"


def parameters_of(arguments: ast.arguments) -> tuple[str, ...]:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    starred += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
    return tuple(name for name in [argument.arg for argument in named] + starred if name not in ("self", "cls"))


def tags_of(node: Definition, text: str) -> tuple[str, ...]:
    decorators = [ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list]
    named = [name for name in decorators if re.fullmatch(r"[\w.]+", name)]
    special = ["special method"] if re.fullmatch(r"__\w+__", node.name) else []
    return tuple(dict.fromkeys(named + special + (["deprecated"] if "deprecated" in text.lower() else [])))


def c_entries(name: str) -> Iterator[Entry]:
    module = importlib.import_module(name)
    if module.__doc__:
        yield Entry(name, "", "module", inspect.cleandoc(module.__doc__))
    for key, value in sorted(item for item in vars(module).items() if not item[0].startswith("__")):
        yield from c_entry(name, key, value, "builtin function")
        if isinstance(value, type):
            for inner, member in sorted(vars(value).items()):
                yield from c_entry(name, f"{key}.{inner}", member, "builtin method")


def c_entry(module: str, qualname: str, value: Any, kind: str) -> Iterator[Entry]:
    """The entry of one object in a C module, if it is documented and not a mere value such as a number."""
    documented = isinstance(value, type) or inspect.isroutine(value) or inspect.isdatadescriptor(value)
    if documented and isinstance(value.__doc__, str):
        yield Entry(
            module, qualname, "class" if isinstance(value, type) else kind, inspect.cleandoc(value.__doc__).strip()
        )


def longest_prefix(module: str, table: dict[str, Any]) -> Any:
    parts = module.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((table[name] for name in names if name in table), None)


def namespace_of(module: str) -> str:
    found = longest_prefix(module, NAMESPACES)
    return LARGE if found is None else found


def id_of(entry: Entry) -> str:
    """A path for a module, the expression itself for an operator, else the dotted name."""
    if not entry.qualname:
        return entry.path or entry.module
    if entry.module == "operator" and (same := re.match(r"Same as (.+?)(?:, for| \(note|\.?$)", entry.text)):
        return same[1]
    public = PUBLIC_MODULE.get(entry.module, entry.module)
    return IDS.get(entry.title, f"{public}.{entry.qualname}")


def metadata_of(entry: Entry) -> dict[str, Any]:
    """Metadata of every kind that a record can carry; a key is left out where it has no value."""
    if entry.module in NO_METADATA:
        return {}
    lines = entry.text.count("\n") + 1
    found = {
        "title": entry.title,
        "module": entry.module,
        "kind": entry.kind,
        "text": entry.text[:EXCERPT].strip(),
        "lines": lines,
        "public": not re.search(r"(^|\.)_(?!_\w+__(\.|$))", entry.title),
        "doc-kind": "summary" if lines == 1 else "description",
        "parameters": list(entry.parameters),
        "bases": list(entry.bases),
        "tags": list(entry.tags),
        **source_fields(entry, lines),
        **history_fields(entry),
        **(class_fields(entry) if entry.kind == "class" else {}),
        **(module_fields(entry) if entry.kind == "module" else {}),
    }
    return {key: value for key, value in found.items() if value not in (None, [])}


def source_fields(entry: Entry, lines: int) -> dict[str, Any]:
    return {"source.line": entry.line, "ratio": round(lines / entry.length, 3)} if entry.length else {}


def history_fields(entry: Entry) -> dict[str, Any]:
    since = longest_prefix(entry.module, SINCE)
    return {} if since is None else {"since": since, "released": RELEASED[since]}


def class_fields(entry: Entry) -> dict[str, Any]:
    """Keys that some databases reserve ('id') or cannot spell ('größe')."""
    return {"id": f"{zlib.crc32(entry.title.encode()):08x}", "größe": len(entry.text)}


def module_fields(entry: Entry) -> dict[str, Any]:
    ref = uuid.uuid5(uuid.NAMESPACE_URL, f"https://docs.python.org/3/library/{entry.module}.html")
    return {"ref": str(ref), "名称": longest_prefix(entry.module, NAMES)}
