"""Instructions of launch, plan and healthcheck, by callgrind, beside the numbers kept in instructions.json.

Counts repeat where times do not, so a test can hold them: one that grows by more than a tenth fails until
its number is changed on purpose (run with --write). Valgrind knows no openat2, so what is counted is the
walk that replaces it. Runs inside the prepared root.
"""
import json
import os
import re
import subprocess
import sys

import root
from rows import LSPHP, SITE, serve

KEPT = '/repository/tests/bench/instructions.json'
TOLERANCE = 1.10


def count(argv, env, expected_exit):
    valgrind = ['/usr/bin/valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null']
    done = subprocess.run([*valgrind, *argv], env=env, capture_output=True, text=True)
    collected = re.search(r'Collected : (\d+)', done.stderr)
    if done.returncode != expected_exit or not collected:
        raise RuntimeError(f'{argv}: exit {done.returncode}, expected {expected_exit}\n{done.stderr}')
    return int(collected[1])


def main():
    place, repository, binary, *options = sys.argv[1:]
    root.enter(place, repository)
    binary = binary.replace(repository, '/repository', 1)
    root.site()
    # An executable of no format: everything up to execve is counted, and the count survives it.
    with open('/tmp/no-format', 'w') as file:
        file.write('\0')
    os.chmod('/tmp/no-format', 0o755)
    launch = {**SITE, 'CAC_LSPHP': '/tmp/no-format'}
    subprocess.run([binary, 'run'], env=launch, stderr=subprocess.DEVNULL)  # the second start is what is counted
    counted = {'launch': count([binary, 'run'], launch, 126), 'plan': count([binary, 'plan'], SITE, 0)}
    server = serve([binary, 'run'], {**SITE, 'CAC_LSPHP': LSPHP}, 9000)
    counted['healthcheck'] = count([binary, 'healthcheck'], SITE, 0)
    server.terminate()
    if '--write' in options:
        with open(KEPT, 'w') as file:
            json.dump(counted, file, indent=1)
            file.write('\n')
        return
    with open(KEPT) as file:
        kept = json.load(file)
    failed = False
    for name, number in counted.items():
        grown = number > kept[name] * TOLERANCE
        failed |= grown
        verdict = 'GREW: find out why, or keep it with scripts/bench instructions --write' if grown else 'ok'
        print(f'{name:<12} {number:>10} instructions, {number / kept[name]:.3f} of the {kept[name]} kept: {verdict}')
    sys.exit(failed)


main()
