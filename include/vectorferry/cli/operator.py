"""Operator of a command: who runs it, as the system knows."""

import os
import pwd


def operator() -> str:
    """The name of this process's user. Not LOGNAME or USER: anybody may set these, and be an approver by it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"  # as in a container that runs under a number
