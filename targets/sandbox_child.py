"""The inside of the sandbox: run as a script, it locks itself in and then answers questions, one line of JSON each.

The standard library alone: whatever is imported here is imported for every runner. Questions arrive on a descriptor of
its own and answers leave on another, so that nothing the candidate prints can disturb them.

What it does to itself, as far as the machine lets it, and it tells its parent how far that was:

* namespaces (network, processes, mounts), directly as root, by a user namespace otherwise;
* an empty memory-backed folder of limited size to work in;
* limits of memory, CPU, file size, processes and open files;
* another user where it was started as root;
* Landlock: read the interpreter, the code and what the target names; write the working folder alone; no TCP.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import stat
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 2, 4, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 8, 36, 38
CAP_DAC_READ_SEARCH = 2
SYS_LANDLOCK_CREATE, SYS_LANDLOCK_ADD, SYS_LANDLOCK_RESTRICT = 444, 445, 446

FILE_READ = (1 << 0) | (1 << 2)  # execute, read
FOLDER_READ = FILE_READ | (1 << 3)
FILE_WRITE = (1 << 1) | (1 << 14)
FIRST_UID = 61_184
"""Start of the range that is kept for short-lived users."""

SYSTEM_READ = (
    "/usr", "/lib", "/lib64", "/bin", "/opt", "/sys/devices/system", "/proc/self", "/proc/cpuinfo", "/proc/meminfo",
    "/proc/stat", "/proc/filesystems", "/proc/sys/vm/overcommit_memory", "/etc/ssl", "/etc/pki", "/etc/ca-certificates",
    "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/passwd", "/etc/hosts",
    "/etc/resolv.conf",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

Isolation = dict[str, bool]


def main() -> int:
    """Lock in, import the callable, answer until the questions end."""
    spec: dict[str, Any] = json.loads(sys.argv[1])
    questions, answers = int(spec["questions"]), int(spec["answers"])
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if libc is not None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != spec["parent"]:
        return 1  # the parent died before the line above
    done: Isolation = dict.fromkeys(("network", "processes", "folder", "user", "reads", "writes"), False)
    uid: int | None = None
    if libc is not None:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        as_root = _enter_namespaces(libc, done, network=bool(spec["network"]))
        if as_root:
            uid = FIRST_UID + os.getpid() % 4000
        _own_folder(libc, str(spec["work"]), uid, int(spec["limits"]["disk_mb"]), done)
    child = os.fork()
    if child:
        os.close(answers)
        os.close(questions)
        status = _wait(child)
        if not done["processes"]:
            _kill_orphans()
        return status
    if libc is not None and done["processes"]:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        inner = os.fork()  # process 1 only reaps; when it leaves, the kernel ends all that is left in here
        if inner:
            os.close(answers)
            os.close(questions)
            os._exit(_wait(inner))
    if libc is not None:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # a double fork comes back to us, and we say so
    os.chdir(str(spec["work"]))
    for path in reversed(spec["path"]):
        sys.path.insert(0, path)
    _limit(spec["limits"], alone=done["processes"] or uid is not None)
    if libc is not None:
        _drop(libc, spec, uid, done)
    return _serve(spec, questions, answers, done)


def _serve(spec: dict[str, Any], questions: int, answers: int, done: Isolation) -> int:
    # Bound here, before any foreign code runs: patching these modules later changes nothing for us.
    clock, loads, dumps = time.perf_counter, json.loads, json.dumps
    module, _, name = str(spec["callable"]).partition(":")
    printed = os.open("output", os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    me = os.getpid()
    try:
        function: Callable[[Any, Any], Any] = getattr(importlib.import_module(module), name)
    except BaseException as error:  # noqa: BLE001 - whatever the import does, the parent hears of it
        _say(answers, {"unavailable": f"{type(error).__name__}: {error}"[:1000]})
        return 1
    _say(answers, {"ready": True, "isolation": done})
    cap = int(spec["limits"]["output_bytes"])
    with os.fdopen(questions, "rb") as lines:
        for line in lines:
            question = loads(line)
            os.ftruncate(printed, 0)  # the cap on a file's size is the cap on what one case prints
            started = clock()
            reply: dict[str, Any]
            try:
                answer = function(question["inputs"], question["config"])
                reply = {"answer": answer}
            except SystemExit as error:
                reply = {"error": f"SystemExit: the candidate asked to leave with {error.code!r}"}
            except BaseException as error:  # noqa: BLE001 - the candidate's failure is its answer
                reply = {"error": _told(error)}
            if os.getpid() != me:
                os._exit(0)  # a fork that came back out of the candidate's call: not ours to answer
            reply["ms"] = (clock() - started) * 1000
            reply["nonce"] = question["nonce"]
            reply["left"] = _has_children()
            try:
                text = dumps(reply, default=str)
            except BaseException as error:  # noqa: BLE001
                text = dumps({"error": f"the answer is not JSON: {_told(error)}", "nonce": question["nonce"]})
            if len(text) > cap:
                text = dumps(
                    {"error": f"the answer has {len(text)} characters; {cap} are allowed", "nonce": question["nonce"]}
                )
            _write(answers, text.encode() + b"\n")
    return 0


def _has_children() -> bool:
    """Whether the candidate left processes behind: the next case deserves a clean house."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _told(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:1000]
    except BaseException:  # noqa: BLE001 - an exception may refuse to be printed
        return type(error).__name__


def _say(descriptor: int, message: dict[str, Any]) -> None:
    _write(descriptor, json.dumps(message).encode() + b"\n")


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _wait(child: int) -> int:
    """Reap until the child has ended; return its status as a shell would."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _kill_orphans() -> None:
    """Without a process namespace: end what the runner left behind. As a subreaper, it is all ours."""
    me = os.getpid()
    while True:
        try:
            with open(f"/proc/{me}/task/{me}/children") as file:
                children = [int(pid) for pid in file.read().split()]
        except OSError:
            return
        if not children:
            return
        for pid in children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.wait()


def _enter_namespaces(libc: ctypes.CDLL, done: Isolation, *, network: bool) -> bool:
    """Enter what the machine allows. Returns whether we are a root that can become somebody else."""
    wanted = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | (0 if network else CLONE_NEWNET)
    uid, gid = os.getuid(), os.getgid()
    as_root = uid == 0
    entered = as_root and libc.unshare(wanted) == 0
    if not entered and libc.unshare(CLONE_NEWUSER | wanted) == 0:
        entered, as_root = True, False
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with contextlib.suppress(OSError), open(f"/proc/self/{name}", "w") as file:
                file.write(text)  # where it is refused, ids stay unmapped: fewer rights, not more
    if entered:
        libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        done["processes"] = True
        done["network"] = not network
    return as_root


def _own_folder(libc: ctypes.CDLL, work: str, uid: int | None, size_mb: int, done: Isolation) -> None:
    if done["processes"]:
        options = f"size={size_mb}m,nr_inodes=10k,mode=700" + (f",uid={uid},gid={uid}" if uid else "")
        done["folder"] = libc.mount(b"tmpfs", work.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, options.encode()) == 0
    if uid is not None and not done["folder"]:
        os.chown(work, uid, uid)


def _limit(limits: dict[str, Any], *, alone: bool) -> None:
    processes = int(limits["processes"])
    if not alone:
        processes += _threads_of(os.getuid())  # counted per user: what runs already counts as well
    for kind, value in (
        (resource.RLIMIT_AS, int(limits["memory_mb"]) << 20),
        (resource.RLIMIT_CPU, int(limits["cpu_s"])),
        (resource.RLIMIT_FSIZE, int(limits["file_mb"]) << 20),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_NOFILE, 128),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (value, value))
    # Too large a file raises in the candidate instead of ending it without a word.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _threads_of(uid: int) -> int:
    count = 0
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else []:
        with contextlib.suppress(OSError):
            if entry.isdigit() and os.stat(f"/proc/{entry}").st_uid == uid:
                count += len(os.listdir(f"/proc/{entry}/task"))
    return count


def _drop(libc: ctypes.CDLL, spec: dict[str, Any], uid: int | None, done: Isolation) -> None:
    """Become somebody else where root, give up every capability, and let Landlock keep the rest out."""
    named = [os.path.realpath(path) for path in spec["read"]]
    code = [path for path in sys.path if path and os.path.isdir(path)]
    reading = 0
    if uid is not None:
        if not all(_readable_by_all(path) for path in [sys.prefix, sys.base_prefix, *code, *named]):
            reading = 1 << CAP_DAC_READ_SEARCH  # a checkout under /root, say; Landlock still says what may be read
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        done["user"] = True
    header = struct.pack("Ii", 0x20080522, 0)
    libc.capset(header, struct.pack("6I", reading, reading, 0, 0, 0, 0))
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of user forgets it
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _landlock(libc, spec, code, named, done)


def _readable_by_all(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
        if not mode & stat.S_IROTH:
            return False
        while path != "/":
            path = os.path.dirname(path)
            if not os.stat(path).st_mode & stat.S_IXOTH:
                return False
    except OSError:
        return True  # what does not exist needs no reading
    return True


def _landlock(libc: ctypes.CDLL, spec: dict[str, Any], code: list[str], named: list[str], done: Isolation) -> None:
    version = libc.syscall(SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return
    # Newer kernels know more rights; asking an older one for them is an error.
    every = (1 << 13) - 1
    for since, bit in ((2, 13), (3, 14), (5, 15)):
        every |= (1 << bit) if version >= since else 0
    attributes = struct.pack("Q", every)
    closed = version >= 4 and not spec["network"]
    if version >= 4:
        attributes += struct.pack("Q", 3 if closed else 0)  # bind and connect TCP: no rule allows either
    if version >= 6:
        attributes += struct.pack("Q", 3)  # abstract sockets and signals stay inside
    rules = libc.syscall(SYS_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return

    def allow(path: str, rights: int) -> None:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        rule = struct.pack("=Qi", rights & every, descriptor)
        libc.syscall(SYS_LANDLOCK_ADD, rules, 1, rule, 0)
        os.close(descriptor)

    prefixes = {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    for path in (*SYSTEM_READ, *prefixes):
        allow(path, FOLDER_READ if os.path.isdir(path) else FILE_READ)
    for path in DEVICES:
        allow(path, FILE_READ | FILE_WRITE)
    for folder in code:
        if any(os.path.realpath(folder).startswith(prefix + os.sep) for prefix in prefixes):
            continue
        allow(folder, 1 << 3)
        for name in os.listdir(folder):
            # A checkout on the path is code; its `.env` and `.git` are not.
            if not name.startswith("."):
                full = os.path.join(folder, name)
                allow(full, FOLDER_READ if os.path.isdir(full) else FILE_READ)
    for path in named:
        # A file that is replaced is another file: its folder is what stays.
        allow(path if os.path.isdir(path) else os.path.dirname(path), FOLDER_READ)
    allow(str(spec["work"]), every)
    if libc.syscall(SYS_LANDLOCK_RESTRICT, rules, 0) == 0:
        done["reads"] = done["writes"] = True
        done["network"] = done["network"] or closed
    os.close(rules)


if __name__ == "__main__":
    sys.exit(main())
