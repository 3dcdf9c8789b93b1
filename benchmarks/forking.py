"""Processes that find each other as those of torchrun do, forked from one interpreter with all imports."""

import os
import socket
import sys
import traceback
from collections.abc import Callable


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fork(world: int, work: Callable[[], int | None]) -> list[int]:
    """Begin `work` in so many processes; their ids. Each ends with what it returns as its exit code, 1 on an error."""
    port = free_port()
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            os.environ |= environment(rank, world, port)
            code = 1
            try:
                code = work() or 0
            except BaseException:  # the end of a process: nothing may reach the parent's code
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    return children


def environment(rank: int, world: int, port: int) -> dict[str, str]:
    """What torchrun tells a process; nothing to one that is alone."""
    if world == 1:
        return {}
    return {
        "TORCHELASTIC_RUN_ID": "forked",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def wait(children: list[int]) -> list[int]:
    """The exit codes of forked processes, minus the signal for those that were killed."""
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
