"""The CPU machine: runs a program of operations, the whole forward pass of any RWKV version, in every thread of a team.

An operation is cut into tasks that threads take from a shared counter, a run of them at a time: cores that share a
counter pay for every look at it, and memory is read fastest in order. Who takes which changes no number. A thread
waits behind an operation until its tasks are done, not until the other threads have come, so one that the system has
put to sleep holds nobody up unless it sleeps over a task that it took. See `layout` for what the tables hold.
"""

from numba import njit

from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.atomics import give_way, look, rest, take
from rwkv_music_kernels.cpu.kernel import inner, invoke, numbers
from rwkv_music_kernels.cpu.scratch import rows_of

# Runs of tasks that an operation has for each thread.
_RUNS = 2
# Rows of a call from which on tasks are so long that they are taken one by one, or, where they prepare the rows that they
# share, so many that each thread does so once. Tasks of a few rows each stay short.
_MANY_ROWS = 64
# Turns of waiting before a thread offers its core to others.
_PATIENCE = 400
_FLOAT, _INTEGER = 4, 8

_do = invoke(5)


@njit(nogil=True, cache=True, error_model="numpy")
def run(program, call, counters, thread, threads):
    """Run every step of `program` on the memory that `call` names, together with the other threads of the call.

    program: (steps, STEP_SIZE), call: (CALL_SIZE,), counters: (steps, COUNTERS) zeros, shared by the threads of
    this call and unused if one is all there is; all int64. thread: whose room to work in.
    """
    first, call_at, shared = program.ctypes.data, call.ctypes.data, counters.ctypes.data
    asked = numbers(call_at)
    room = asked[at.ROOMS_AT] + thread * asked[at.ROOM_PITCH] * _FLOAT
    begun, expected = 0, 0
    for n in range(program.shape[0]):
        step_at = first + n * at.STEP_SIZE * _INTEGER
        step = numbers(step_at)
        kernel, tasks = step[at.KERNEL_AT], _count_tasks(step, asked)
        if threads == 1:
            _do(kernel, step_at, call_at, 0, tasks, room)
            continue
        taken = shared + n * at.COUNTERS * _INTEGER
        done = shared + (begun * at.COUNTERS + at.DONE) * _INTEGER
        expected += tasks
        at_once = (tasks + threads * _RUNS - 1) // (threads * _RUNS)
        if asked[at.PIECES] * asked[at.LENGTH] >= _MANY_ROWS and step[at.SPAN] != at.FEW_ROWS:
            at_once = (step[at.SHARE] + threads - 1) // threads if step[at.PREPARES] else 1
        own = 0
        task = take(taken, at_once)
        while task < tasks:
            stop = min(task + at_once, tasks)
            _do(kernel, step_at, call_at, task, stop, room)
            own += stop - task
            task = take(taken, at_once)
        if own:
            take(done, own)
        if step[at.ENDS]:
            _wait(done, expected)
            begun, expected = n + 1, 0


@inner
def _wait(done, expected):
    turns = 0
    while look(done) < expected:
        turns += 1
        if turns < _PATIENCE:
            rest()
        else:
            give_way()


@inner
def _count_tasks(step, call):
    if step[at.SPAN] == at.PIECE:
        return call[at.PIECES] * step[at.SHARE]
    first, end = rows_of(step, call)
    return (end - first + step[at.SPAN] - 1) // step[at.SPAN] * step[at.SHARE]
