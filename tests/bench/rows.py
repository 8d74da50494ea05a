"""The rows that need no container engine. Runs inside the prepared root; prints one JSON line a row."""
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

import root
from measure import in_turns, row

SITE = {'user': 'alice', 'uid': str(root.UID), 'domain': 'example.com', 'PATH': '/usr/local/bin:/usr/bin:/bin'}
SETPRIV = ['/usr/bin/setpriv', '--reuid', str(root.UID), '--regid', str(root.UID), '--clear-groups', '--inh-caps=-all',
           '--ambient-caps=-all', '--bounding-set=-all', '--no-new-privs']
BOOT = {**SITE, 'CAC_LSPHP': '/bin/true'}
PAGE = '/mnt/users/alice/example.com/public_html/bench.php'
BENCH = '/repository/tests/bench'
LSPHP = '/repository/target/lsphp/8.2/lsphp'
RUNS = 300
STATUS_MS = 10  # most of it the kernel's, adding up the pages of 8 processes (smaps_rollup)
# What a container has unless told otherwise: each is a system call to drop.
DOCKER_CAPABILITIES = '-all,' + ','.join(f'+{name}' for name in (
    'chown', 'dac_override', 'fowner', 'fsetid', 'kill', 'setgid', 'setuid', 'setpcap', 'net_bind_service', 'net_raw',
    'sys_chroot', 'mknod', 'audit_write', 'setfcap'))


def launch(binary):
    costs = in_turns({
        'ours': ([binary, 'run'], BOOT),
        'setpriv': ([*SETPRIV, '/bin/true'], BOOT),
        'bash': ([f'{BENCH}/entrypoint.sh'], BOOT),
    }, RUNS)
    ours, setpriv, bash = costs['ours'], costs['setpriv'], costs['bash']
    row('launch, CPU', 'setpriv, same drop', ours.cpu, setpriv.cpu, 'ms', 1.5)
    row('launch, wall', 'setpriv, same drop', ours.wall, setpriv.wall, 'ms', 1.5)
    row('launch, CPU', 'bash entrypoint', ours.cpu, bash.cpu, 'ms', 1 / 6)
    row('launch, wall', 'bash entrypoint', ours.wall, bash.wall, 'ms', 1 / 6)


def system_calls(binary):
    """Counted up to the exec, with the privileges of a Docker container."""
    again = count_system_calls(binary)
    forget_starts()
    first = count_system_calls(binary)
    row('system calls of a start', 'the promise', again, 300, '', 1)
    row('system calls of a first start', 'the promise', first, 300, '', 1)


def count_system_calls(binary):
    trace = '/tmp/trace'
    docker = ['/usr/bin/setpriv', '--bounding-set', DOCKER_CAPABILITIES, '/usr/bin/env']
    subprocess.run([*docker, '/usr/bin/strace', '-o', trace, binary, 'run'], env=BOOT, stderr=subprocess.DEVNULL, check=True)
    calls = [line for line in open(trace) if re.match(r'\w+\(', line)]
    return 1 + [number for number, line in enumerate(calls) if line.startswith('execve(')][1]  # the first is our own


def forget_starts():
    """What a new container with an old home has not seen yet."""
    for made in ('/run/cac-lsphp', '/mnt/users'):
        shutil.rmtree(made)
    for accounts in ('/etc/passwd', '/etc/group'):
        lines = [line for line in open(accounts) if not line.startswith('alice:')]
        with open(accounts, 'w') as file:
            file.writelines(lines)


def many_files(binary):
    """A home of a million files, kept between runs on the repository's disk, beside one of ten."""
    home = '/repository/target/bench/million'
    os.makedirs(home, exist_ok=True)
    root.bind(home, '/home/million')
    if not os.path.exists(f'{home}/complete'):
        print('making a home of 1,000,000 files', file=sys.stderr)
        root.site('million', range(1_000_000))
        open(f'{home}/complete', 'w').close()
    root.site('ten', range(10))
    costs = in_turns({
        'million': ([binary, 'run'], {**BOOT, 'user': 'million'}),
        'ten': ([binary, 'run'], {**BOOT, 'user': 'ten'}),
    }, RUNS)
    row('start with 1,000,000 files', 'start with 10 files', costs['million'].wall, costs['ten'].wall, 'ms', 1.05)


def wait_for(port):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(('127.0.0.1', port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f'nothing listens on port {port}')


def serve(argv, env, port):
    log = open(f'/tmp/lsphp-{port}.log', 'w')
    server = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_for(port)
    return server


def healthcheck(binary):
    ours, true = (([binary, 'healthcheck'], SITE), (['/bin/true'], SITE))
    costs = in_turns({'ours': ours, 'true': true}, RUNS)
    row('healthcheck, CPU', '/bin/true', costs['ours'].cpu, costs['true'].cpu, 'ms', 1.5)
    row('healthcheck, wall', '/bin/true', costs['ours'].wall, costs['true'].wall, 'ms', 1.5)
    # Apart, because each of its connections has lsphp fork or wake a worker.
    bash = (['/bin/bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/9000'], SITE)
    costs = in_turns({'ours': ours, 'bash': bash, 'true': true}, RUNS)
    no_process = (0.85, 'to start /bin/true costs half of what bash costs, see its row: no process can be a tenth')
    row('healthcheck, CPU', 'bash TCP check', costs['ours'].cpu, costs['bash'].cpu, 'ms', 0.1, no_process)
    row('healthcheck, wall', 'bash TCP check', costs['ours'].wall, costs['bash'].wall, 'ms', 0.1, no_process)
    row('/bin/true, CPU', 'bash TCP check', costs['true'].cpu, costs['bash'].cpu, 'ms')
    row('/bin/true, wall', 'bash TCP check', costs['true'].wall, costs['bash'].wall, 'ms')


def hold_connections(count):
    """A process that holds both ends of so many; whoever holds them pays for them at each fork and exec."""
    ready, tell = os.pipe()
    if pid := os.fork():
        os.close(tell)
        if os.read(ready, 1) != b'1':
            raise RuntimeError(f'opening {count} connections failed')
        return pid
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * count + 100, 2 * count + 100))
    listener, ends = socket.socket(), []
    listener.listen(100)
    for _ in range(count):
        ends.append(socket.socket())
        ends[-1].connect(listener.getsockname())
        ends.append(listener.accept()[0])
    os.write(tell, b'1')
    while True:
        signal.pause()


def healthcheck_in_a_crowd(binary):
    """A check's time does not grow with the connections in its network namespace."""
    check = {'check': ([binary, 'healthcheck'], SITE)}
    alone = in_turns(check, RUNS)['check']
    crowd = hold_connections(5000)
    beside = in_turns(check, RUNS)['check']
    os.kill(crowd, signal.SIGKILL)
    os.waitpid(crowd, 0)
    row('healthcheck, CPU, 10,000 connections', 'healthcheck, alone', beside.cpu, alone.cpu, 'ms', 2)


def status_of_a_full_site(binary):
    """Status answers when a page of php-fpm's status would have to wait. Last, as it leaves the workers asleep."""
    script = '/tmp/sleep.php'
    with open(script, 'w') as file:
        file.write('<?php sleep(600);')
    request = [binary, 'request', '--addr', '127.0.0.1:9000', script]
    clients = [subprocess.Popen(request, env=SITE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(18)]
    time.sleep(2)
    cost = in_turns({'status': ([binary, 'status'], SITE)}, RUNS)['status'].cpu
    for client in clients:
        client.kill()
        client.wait()
    row('status, CPU, all busy, queue full', 'the promise', cost, STATUS_MS, 'ms', 1)


def plan(binary):
    """Mostly the detection of the limits."""
    costs = in_turns({'ours': ([binary, 'plan'], SITE), 'true': (['/bin/true'], SITE)}, RUNS)
    row('plan, CPU', '/bin/true', costs['ours'].cpu, costs['true'].cpu, 'ms', 2)
    row('plan, wall', '/bin/true', costs['ours'].wall, costs['true'].wall, 'ms', 2)


def requests(binary, bench):
    costs = in_turns({
        'ours': ([binary, 'request', PAGE], SITE),
        'minimal': ([bench, '127.0.0.1:9000', PAGE, '0'], SITE),
    }, RUNS)
    row('request, wall', 'minimal loop, once', costs['ours'].wall, costs['minimal'].wall, 'ms', 1.3)


def microseconds(bench, ports, count):
    """A request's median at each port, the ports in turns."""
    argv = [bench, ','.join(f'127.0.0.1:{port}' for port in ports), PAGE, str(count)]
    return [int(line) / 1e3 for line in subprocess.run(argv, check=True, capture_output=True).stdout.split()]


def normaliser(bench, ini):
    """The same page by lsphp that are alike but for auto_prepend_file, and what makes up the difference."""
    ours = open(ini).readlines()
    bare = [line for line in ours if not line.startswith('auto_prepend_file')]
    # On one processor, so that a request costs what is executed, not what it takes to wake another one.
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    serve_with(bare, 9001)
    serve_with(ours, 9002)
    serve_with([*bare, prepended('nothing', '')], 9003)
    serve_with([*bare, prepended('server', "<?php (static function (): void { $_SERVER['DOCUMENT_ROOT'] ?? ''; })();")], 9004)
    time.sleep(3)  # opcache takes no file younger than 2 s
    without, with_it, nothing, server = microseconds(bench, range(9001, 9005), 50_000)
    os.sched_setaffinity(0, processors)
    row('normaliser a request', 'its budget of 20 µs', max(with_it - without, 0), 20, 'µs', 1)
    row('an empty page, normalised', 'without the normaliser', with_it, without, 'µs', 1.02, instead=(
        1.15, '$_SERVER has to be there to be corrected, and PHP building it, as for any page that looks at its request, '
              'costs more than the limit allows, see the next rows'))
    row('an empty file prepended', 'without it', nothing, without, 'µs')
    row('$_SERVER looked at, no more', 'an empty file prepended', server, nothing, 'µs')
    row('an empty page, normalised', '$_SERVER looked at, no more', with_it, server, 'µs')


def prepended(name, script):
    with open(f'/tmp/{name}.php', 'w') as file:
        file.write(script)
    os.utime(f'/tmp/{name}.php', (1e9, 1e9))
    return f"auto_prepend_file = '/tmp/{name}.php'\n"


def serve_with(ini_lines, port):
    directory = f'/tmp/php-{port}.d'
    os.makedirs(directory)
    with open(f'{directory}/90.ini', 'w') as file:
        file.writelines(ini_lines)
    env = {**SITE, 'PHP_INI_SCAN_DIR': f':{directory}', 'PHP_LSAPI_CHILDREN': '7', 'LSAPI_EXTRA_CHILDREN': '0',
           'PHP_LSAPI_MAX_REQUESTS': '1000000'}
    serve([*SETPRIV, LSPHP, '-b', f'0.0.0.0:{port}'], env, port)


def size(binary):
    kind = subprocess.run(['/usr/bin/readelf', '-l', binary], capture_output=True, text=True, check=True).stdout
    if 'INTERP' in kind:
        raise RuntimeError(f'{binary} is not static')
    # Alone in a root: so it needs nothing of Alpine's, Debian's or anybody's base.
    os.makedirs('/tmp/empty', exist_ok=True)
    shutil.copy(binary, '/tmp/empty/cac-lsphp')
    subprocess.run(['/cac-lsphp', '--version'], preexec_fn=lambda: os.chroot('/tmp/empty'), stdout=subprocess.DEVNULL, check=True)
    row('binary', 'the promise', os.path.getsize(binary) / 2**20, 3, 'MiB', 1)


def main():
    place, repository, binary, bench = sys.argv[1:]
    root.enter(place, repository)
    binary, bench = (path.replace(repository, '/repository', 1) for path in (binary, bench))
    root.site()
    launch(binary)
    system_calls(binary)
    plan(binary)
    many_files(binary)
    env = {**SITE, 'CAC_LSPHP': LSPHP, 'PHP_LSAPI_MAX_REQUESTS': '1000000', 'LSAPI_MAX_IDLE_CHILDREN': '7'}
    serve([binary, 'run'], env, 9000)
    healthcheck(binary)
    healthcheck_in_a_crowd(binary)
    requests(binary, bench)
    normaliser(bench, '/run/cac-lsphp/php.d/90-cac-lsphp.ini')
    status_of_a_full_site(binary)
    size(binary)


if __name__ == '__main__':
    main()
