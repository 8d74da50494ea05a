"""Rows, and the cost of whole processes: candidates in turns, so that a noisy machine is noisy for all of them."""
import json
import os
import resource  # noqa: F401  os.wait4 needs it, and cannot find it after a chroot
import statistics
import time
from dataclasses import dataclass


def row(name, yardstick, ours, theirs, unit, limit=None, instead=None, at_least=None):
    """Prints a row for report.py.

    limit: the ratio may be so much; at_least: it must. Without either there is nothing to reach: the row shows
    where the cost of another one lies.
    instead: what is held where the limit, set before anything was measured, is not, and why: (ratio, reason).
    """
    instead = instead and dict(zip(('held', 'why'), instead))
    print(json.dumps({'name': name, 'yardstick': yardstick, 'ours': ours, 'theirs': theirs, 'unit': unit,
                      'ratio': ours / theirs, 'limit': limit, 'at_least': at_least, 'instead': instead}), flush=True)


@dataclass
class Cost:
    """Medians over the runs of one candidate, in milliseconds."""
    cpu: float
    wall: float


def run(argv, env):
    """CPU and wall time of one process, in milliseconds; a failure is no measurement."""
    quiet = [(os.POSIX_SPAWN_OPEN, fd, '/dev/null', os.O_RDWR, 0) for fd in (0, 1, 2)]
    start = time.perf_counter_ns()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    wall = (time.perf_counter_ns() - start) / 1e6
    if status != 0:
        raise RuntimeError(f'{" ".join(argv)}: wait status {status}')
    return (usage.ru_utime + usage.ru_stime) * 1e3, wall


def in_turns(candidates, runs):
    """candidates: name -> (argv, env). Returns name -> Cost."""
    samples = {name: [] for name in candidates}
    for turn in range(runs + 1):
        for name, (argv, env) in candidates.items():
            sample = run(argv, env)
            if turn > 0:  # the first warms the caches
                samples[name].append(sample)
    return {name: Cost(*(statistics.median(column) for column in zip(*rows))) for name, rows in samples.items()}
