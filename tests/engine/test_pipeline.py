"""The pipeline's package: the verbs of its modules, each under one name."""

import inspect
import pkgutil
from importlib import import_module

from vectorferry.engine import pipeline


def test_every_verb_of_a_module_is_handed_on_and_hides_no_other() -> None:
    modules = [import_module(f"{pipeline.__name__}.{found.name}") for found in pkgutil.iter_modules(pipeline.__path__)]
    verbs = [
        (name, verb)
        for module in modules
        for name, verb in vars(module).items()
        if inspect.isfunction(verb) and verb.__module__ == module.__name__ and not name.startswith("_")
    ]
    hidden = [f"{verb.__module__}.{name}" for name, verb in verbs if getattr(pipeline, name, None) is not verb]
    assert len(verbs) > 80
    assert not hidden
