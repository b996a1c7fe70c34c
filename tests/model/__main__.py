"""Explore every configuration, with all guards and without each: `python -m model [-v] [NAME ...]`, from the folder tests."""

import sys
import time

from model.configurations import CONFIGURATIONS, Configuration


def show(name: str, configuration: Configuration, guard: str, *, verbose: bool) -> bool:
    """Print one line, and the schedule if asked for; true if the outcome is the expected one."""
    began = time.perf_counter()
    outcome = configuration.without(guard)
    seconds = time.perf_counter() - began
    steps = f"{len(outcome.trace):3} steps" if outcome.fault else " " * 9
    print(
        f"{name:20} {guard and '- ' + guard:24} {outcome.states:8} states {seconds:6.1f} s {steps}  {outcome.fault or 'holds'}"
    )
    for step in outcome.trace if verbose else ():
        print(f"{'':24}{step}")
    return bool(outcome.fault) == bool(guard)


def main(words: list[str]) -> int:
    """Give 1 if a guard was not needed, or all of them were not enough."""
    names = [word for word in words if word in CONFIGURATIONS] or list(CONFIGURATIONS)
    verbose = "-v" in words
    expected = [
        show(name, CONFIGURATIONS[name], guard, verbose=verbose)
        for name in names
        for guard in ("", *CONFIGURATIONS[name].guards)
    ]
    return 0 if all(expected) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
