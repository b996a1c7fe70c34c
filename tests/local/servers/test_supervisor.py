"""The supervisor starts in order, says what died, and stops exactly what it started, however it ends itself."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from vectorferry.local.servers.runfile import Entry, RunFile, entry_of, stop_all
from vectorferry.local.servers.supervisor import ServerError, Service, Supervisor, package_env, stop_recorded

SLEEPER = "import time; time.sleep(600)"
# A server that notes its end in a file, so that the order can be seen.
NOTER = """
import signal, sys, time
def end(*_):
    open(sys.argv[2], "a").write(sys.argv[1] + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, end)
open(sys.argv[3], "w").close()
time.sleep(600)
"""
# A server that ignores SIGTERM, with a child in a session of its own.
STUBBORN = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], start_new_session=True)
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(600)
"""


# A server whose child leads a session of its own and stays when the server is killed.
LEAVING = f"""
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], start_new_session=True)
pathlib.Path(sys.argv[1], str(child.pid)).touch()
time.sleep(600)
"""


def service(folder: Path, name: str, code: str = SLEEPER, *arguments: str, **options) -> Service:
    return Service(name, (sys.executable, "-c", code, *arguments), folder / name, **options)


def noter(folder: Path, name: str, **options) -> Service:
    mark = folder / f"{name}.up"
    return service(folder, name, NOTER, name, str(folder / "ends"), str(mark), ready=lambda _: mark.exists(), **options)


def eventually(condition, seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def foreign():
    process = subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_servers_start_after_what_they_need_and_stop_before_it(tmp_path):
    lines: list[str] = []
    with Supervisor(tmp_path, lines.append) as supervisor:
        last = noter(tmp_path, "last", after=("first", "once"))
        supervisor.start([last, noter(tmp_path, "first"), service(tmp_path, "once", "print(1)", oneshot=True)])
    assert [line.split()[0] for line in lines][-1] == "last"
    assert {line.split()[0] for line in lines} == {"first", "once", "last"}
    assert (tmp_path / "ends").read_text().split() == ["last", "first"]
    assert not (tmp_path / "run.json").exists()


def test_a_missing_need_is_named(tmp_path):
    with Supervisor(tmp_path) as supervisor, pytest.raises(ServerError, match="nothing starts base"):
        supervisor.start([service(tmp_path, "server", after=("base",))])


def test_a_server_that_dies_is_reported_with_the_end_of_its_log(tmp_path):
    with Supervisor(tmp_path) as supervisor:
        supervisor.start([service(tmp_path, "server")])
        os.kill(supervisor.pid("server"), signal.SIGKILL)
        (tmp_path / "server" / "server.log").write_text("the reason\n")
        with pytest.raises(ServerError, match=r"server was killed by SIGKILL(.|\n)*the reason"):
            supervisor.wait()


def test_a_failed_preparation_stops_the_start(tmp_path):
    failing = service(tmp_path, "prepare", "print('no disk'); raise SystemExit(3)", oneshot=True)
    with (
        Supervisor(tmp_path) as supervisor,
        pytest.raises(ServerError, match=r"prepare ended with exit code 3(.|\n)*no disk"),
    ):
        supervisor.start([failing, service(tmp_path, "server", after=("prepare",))])


def test_a_server_that_is_never_ready_is_reported(tmp_path):
    with Supervisor(tmp_path) as supervisor, pytest.raises(ServerError, match="server was not ready after"):
        supervisor.start([service(tmp_path, "server", ready=lambda _: False, timeout=0.3)])


def test_what_an_earlier_process_left_does_not_make_a_restarted_one_ready(tmp_path):
    asked = []
    with Supervisor(tmp_path, lambda line: None) as supervisor:
        supervisor.start([service(tmp_path, "server", ready=lambda began: asked.append(began) or True)])
        supervisor.restart("server")
        created = psutil.Process(supervisor.pid("server")).create_time()
    assert asked[0] < asked[-1] == created


def test_a_restart_gives_another_process(tmp_path):
    with Supervisor(tmp_path) as supervisor:
        supervisor.start([service(tmp_path, "server")])
        before = supervisor.pid("server")
        supervisor.restart("server")
        assert supervisor.pid("server") != before
        assert not is_running(before)


def test_a_killed_server_starts_again_once_its_whole_family_is_gone(tmp_path):
    children = tmp_path / "children"
    children.mkdir()
    leaving = service(tmp_path, "leaving", LEAVING, str(children), ready=lambda _: any(children.iterdir()), grace=0.3)
    with Supervisor(tmp_path) as supervisor:
        supervisor.start([leaving])
        (child,) = (int(path.name) for path in children.iterdir())
        killed = supervisor.pid("leaving")
        os.kill(killed, signal.SIGKILL)
        supervisor.restart("leaving")
        assert not is_running(killed)
        assert not is_running(child)


def test_only_one_supervisor_runs_in_a_folder(tmp_path):
    with Supervisor(tmp_path), pytest.raises(ServerError, match="already"), Supervisor(tmp_path):
        pass


def test_what_ignores_the_request_and_hides_in_another_session_is_killed(tmp_path):
    mark = tmp_path / "child"
    with Supervisor(tmp_path) as supervisor:
        stubborn = service(tmp_path, "stubborn", STUBBORN, str(mark), ready=lambda _: mark.exists(), grace=0.3)
        supervisor.start([stubborn])
        assert eventually(mark.read_text)
        pids = [supervisor.pid("stubborn"), int(mark.read_text())]
    assert not any(map(is_running, pids))


def start_in_process(folder: Path) -> subprocess.Popen[str]:
    """A supervisor in a process of its own, that runs a stubborn server and prints when it is up."""
    code = f"""
        import sys
        from pathlib import Path
        from vectorferry.local.servers.supervisor import Service, Supervisor
        folder = Path({str(folder)!r})
        mark = folder / "child"
        command = (sys.executable, "-c", {STUBBORN!r}, str(mark))
        with Supervisor(folder, lambda line: None) as supervisor:
            ready = lambda _: mark.exists() and mark.read_text()
            supervisor.start([Service("stubborn", command, folder / "stubborn", ready=ready, grace=0.3)])
            print(supervisor.pid("stubborn"), mark.read_text(), flush=True)
            supervisor.wait()
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=package_env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def pids_of(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 2
    return pids


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_supervisors_group_stops_the_servers(tmp_path, number):
    with start_in_process(tmp_path) as process:
        pids = pids_of(process)
        os.killpg(process.pid, number)
        process.communicate(timeout=120)
    assert process.returncode != 0
    assert not any(map(is_running, pids))


def test_a_killed_supervisor_leaves_no_orphan(tmp_path):
    with start_in_process(tmp_path) as process:
        pids = pids_of(process)
        process.kill()
        assert eventually(lambda: not any(map(is_running, pids)))
        process.communicate()
    assert eventually(lambda: not (tmp_path / "run.json").exists())


def test_stop_from_another_process_asks_the_living_supervisor(tmp_path):
    with start_in_process(tmp_path) as process:
        pids = pids_of(process)
        assert stop_recorded(tmp_path) == ["stubborn"]
        assert not any(map(is_running, pids))
        process.communicate(timeout=120)


def test_stop_where_nothing_runs_does_nothing(tmp_path):
    assert stop_recorded(tmp_path / "absent") == []
    assert stop_recorded(tmp_path) == []


def test_a_process_that_took_over_a_pid_is_left_alone(tmp_path, foreign):
    entry = entry_of(foreign.pid, "server")
    RunFile(tmp_path).write(None, [replace(entry, created=entry.created - 60)])
    assert stop_recorded(tmp_path) == ["server"]
    assert is_running(foreign.pid)


def test_a_run_of_before_the_last_boot_is_forgotten(tmp_path, foreign):
    file = RunFile(tmp_path)
    file.write(None, [entry_of(foreign.pid, "server")])
    file.path.write_text(file.path.read_text().replace(f'"boot": {psutil.boot_time()}', '"boot": 1.0'))
    stop_recorded(tmp_path)
    assert is_running(foreign.pid)


def test_what_a_dead_server_left_in_its_session_is_stopped(tmp_path):
    mark = tmp_path / "child"
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}])
open({str(mark)!r}, "w").write(str(child.pid))
"""
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as process:
        entry: Entry = replace(entry_of(process.pid, "server"), grace=0.3)
        process.wait()
    child = int(mark.read_text())
    assert is_running(child)
    stop_all([entry])
    assert not is_running(child)
