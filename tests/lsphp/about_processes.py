"""How lsphp handles its processes: each function is a scenario, and returns what it saw as plain data without pids or times."""
import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from lab import ADDRESS, NOBODY, alive, within

SLEEP = '<?php echo "begin"; usleep((int)($_GET["ms"] * 1000)); echo "end";'


def prefork_counts(lab):
    script = lab.script('sleep.php', SLEEP)
    seen = {}
    for number, env in ((20, {'LSAPI_CHILDREN': '6'}), (20, {'PHP_LSAPI_CHILDREN': '3', 'LSAPI_CHILDREN': '6'}),
                        (20, {'LSAPI_CHILDREN': '6', 'LSAPI_EXTRA_CHILDREN': '0'}), (8, {'LSAPI_CHILDREN': ' 2x', 'LSAPI_EXTRA_CHILDREN': '1'}),
                        (20, {'LSAPI_CHILDREN': '6', 'LSAPI_AVOID_FORK': '1'}), (20, {'LSAPI_CHILDREN': '6', 'LSAPI_AVOID_FORK': '4G'}),
                        (20, {'LSAPI_CHILDREN': '6', 'LSAPI_AVOID_FORK': '2G'}), (4, {'LSAPI_CHILDREN': '1'}), (4, {'LSAPI_CHILDREN': 'abc'}),
                        (4, {'PHP_LSAPI_CHILDREN': '', 'LSAPI_CHILDREN': '6'}), (4, {})):
        lab.start(**env)
        before, most = len(lab.workers()), 0
        with ThreadPoolExecutor(number) as pool:
            answers = [pool.submit(lab.ask, script, query='ms=400') for _ in range(number)]
            while not all(a.done() for a in answers):
                most = max(most, len(lab.workers()))
                time.sleep(0.02)
        line = next((l for l in lab.log().splitlines() if 'Reached' in l), None)
        seen[str(env)] = before, most, sum(a.result()['body'] == b'beginend' for a in answers), line and re.sub(r'busy: \d+', 'busy', line)
    return seen


def ceiling(lab):
    """At the ceiling nobody accepts, a further client waits until another leaves, and the log fills ten lines a second."""
    script = lab.script('ok.php', '<?php echo "ok";')
    lab.start(LSAPI_CHILDREN='2', LSAPI_EXTRA_CHILDREN='0')
    holders = [lab.connect() for _ in range(2)]
    for holder in holders:
        holder.request(script, lab.home)
    third = lab.connect(timeout=1)
    third.send(script, lab.home)
    try:
        waited = third.response()
    except TimeoutError:
        waited = 'timeout'
    lines = lab.log().count('Reached max children process limit: 2, extra: 0, current: 2, busy: 2, please increase LSAPI_CHILDREN.')
    holders[0].close()
    third.socket.settimeout(5)
    return waited, 7 <= lines <= 12, third.response()['body'], len(lab.workers())


def backlog(lab):
    lab.start(LSAPI_CHILDREN='2')
    os.kill(lab.process.pid, signal.SIGSTOP)
    connected = 0
    try:
        for _ in range(20):
            lab.connect(timeout=0.5)
            connected += 1
    except TimeoutError:
        pass
    os.kill(lab.process.pid, signal.SIGCONT)
    return connected


def signals_to_parent(lab):
    script, seen = lab.script('sleep.php', SLEEP), {}
    for name in ('SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGQUIT', 'SIGHUP', 'SIGKILL'):
        lab.start(LSAPI_CHILDREN='3')
        idle, busy = lab.connect(), lab.connect()
        idle.request(script, lab.home, query='ms=1')
        busy.send(script, lab.home, query='ms=700')
        time.sleep(0.2)
        workers = lab.workers()
        lab.process.send_signal(getattr(signal, name))
        quick = within(0.3, lambda: lab.process.poll() is not None)
        answer = busy.response()
        gone = within(2.5, lambda: not any(alive(p) for p in workers))
        seen[name] = (len(workers), quick, lab.process.poll(), answer['packets'], answer['body'], gone, lab.log())
    return seen


def signals_to_worker(lab):
    script = lab.script('shutdown.php', '<?php register_shutdown_function(fn() => print("bye")); echo "begin"; usleep(700000); echo "end";')
    ok, seen = lab.script('ok.php', '<?php echo "ok";'), {}
    for name in ('SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGQUIT', 'SIGSEGV', 'SIGKILL'):
        lab.start(LSAPI_CHILDREN='3')
        fresh, idle, busy = lab.connect(), lab.connect(), lab.connect()
        idle.request(ok, lab.home)
        busy.send(script, lab.home)
        within(2, lambda: len(lab.workers()) == 3)
        time.sleep(0.2)
        for pid in lab.workers():
            os.kill(pid, getattr(signal, name))
        answers = [c.response() for c in (fresh, idle, busy)]
        gone = within(2, lambda: not lab.workers())
        if name == 'SIGSEGV':  # how far a crashing script gets is chance
            answers.pop()
        seen[name] = (answers, gone, sorted(re.sub(r'pid: \d+', 'pid', lab.log()).splitlines()), lab.ask(ok)['body'])
    return seen


def alone(lab):
    """One child means no parent at all."""
    script, seen = lab.script('ok.php', '<?php echo "ok";'), {}
    lab.start(LSAPI_CHILDREN='1', PHP_LSAPI_MAX_REQUESTS='3')
    connection = lab.connect()
    answers = [connection.request(script, lab.home) for _ in range(3)]
    seen['max requests'] = (answers, connection.packet(), lab.process.wait(5))
    for after in (0, 1):
        lab.start(LSAPI_CHILDREN='1')
        for _ in range(after):
            lab.ask(script)
        lab.process.send_signal(signal.SIGTERM)
        seen[f'SIGTERM after {after}'] = (within(2, lambda: lab.process.poll() is not None), lab.process.poll())
    lab.start(LSAPI_CHILDREN='1', LSAPI_MAX_IDLE='2')
    seen['idle'] = (within(4, lambda: lab.process.poll() is not None), lab.process.poll())
    return seen


def as_pid_1(lab):
    script, seen = lab.script('sleep.php', SLEEP), {}
    drop = ['unshare', '--pid', '--fork', '--mount-proc', 'setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups']
    for count, after, name in (('1', 0, 'SIGTERM'), ('1', 1, 'SIGTERM'), ('4', 0, 'SIGTERM'), ('4', 3, 'SIGTERM'), ('4', 3, 'SIGHUP'), ('4', 3, 'SIGUSR1')):
        lab.start(before=drop, LSAPI_CHILDREN=count)
        for _ in range(after):
            client = lab.connect()
            client.send(script, lab.home, query='ms=500')
        time.sleep(0.2 if count != '1' else 0.8)
        first = lab.workers()[0]
        os.kill(first, getattr(signal, name))
        gone = within(0.3, lambda: not alive(first))
        answers = [c.response()['packets'] for c in lab.connections] if gone else None
        seen[count, after, name] = (gone, lab.process.wait(5) if gone else None, answers)
        if not gone:
            os.kill(first, signal.SIGKILL)
    return seen


def recycling(lab):
    script = lab.script('pid.php', '<?php echo getmypid();')
    lab.start(LSAPI_CHILDREN='3', LSAPI_MAX_REQS='2')
    connection, pids = lab.connect(), []
    for _ in range(2):
        answer = connection.request(script, lab.home)
        pids.append((answer['packets'][-1], int(answer['body']) == connection.pid))
    end = connection.packet()
    lab.start(LSAPI_CHILDREN='3')
    first, second = lab.ask(script), lab.ask(script)
    reused = first['body'] == second['body'], first['packets'][:2], second['packets'][:2]
    return pids, end, reused


def idle_workers(lab):
    """How many stay: after their clients left, or holding idle connections, at moments when no worker is about to decide."""
    script, seen = lab.script('ok.php', '<?php echo "ok";'), {}
    for clients, close, env, moments in ((5, True, {}, (0.7, 1.4, 12.5)), (1, True, {}, (9, 12.5)), (1, True, {'LSAPI_AVOID_FORK': '1'}, (12,)),
                                         (5, False, {}, (0.7, 5)), (3, False, {'LSAPI_MAX_IDLE': '2'}, (0.7, 4)),
                                         (3, False, {'LSAPI_MAX_IDLE_CHILDREN': '2'}, (5,)),
                                         (4, False, {'LSAPI_MAX_IDLE_CHILDREN': '1'}, (0.7, 5))):
        lab.start(LSAPI_CHILDREN='4', **env)
        connections = [lab.connect() for _ in range(clients)]
        time.sleep(0.4)  # the parent looks full seconds after its last fork, the workers after their last request
        for connection in connections:
            connection.request(script, lab.home)
        start, counts = time.time(), []
        if close:
            for connection in connections:
                connection.close()
        for moment in moments:
            time.sleep(start + moment - time.time())
            counts.append(len(lab.workers()))
        seen[clients, close, str(env)] = counts
    return seen


def parent_idle(lab):
    script = lab.script('ok.php', '<?php echo "ok";')
    lab.start(LSAPI_CHILDREN='3', LSAPI_PGRP_MAX_IDLE='2', LSAPI_MAX_IDLE='1')
    lab.ask(script)
    start = time.time()
    return within(9, lambda: lab.process.poll() is not None), lab.process.poll(), 2 < time.time() - start < 7, lab.log()


def runaway(lab):
    script = lab.script('long.php', '<?php echo "begin"; $t = microtime(true); while (microtime(true) < $t + 9) { usleep(1000); } echo "end";')
    lab.start(LSAPI_CHILDREN='3', LSAPI_MAX_PROCESS_TIME='1')
    start = time.time()
    answer = lab.ask(script)
    return answer, time.time() - start < 4, re.sub(r'PID: \d+', 'PID', lab.log())


def give_up_connection(lab):
    script, seen = lab.script('ok.php', '<?php echo "ok";'), {}
    for value in (None, '-1', '0', '1', '2', '3'):
        lab.start(LSAPI_CHILDREN='4', **({'LSAPI_MAX_BUSY_WORKER': value} if value else {}))
        clients = [lab.connect() for _ in range(4)]
        within(2, lambda: len(lab.workers()) == 4)
        time.sleep(0.1)
        rest = []
        for client in clients:
            client.request(script, lab.home)
            client.socket.settimeout(0.3)
            try:
                rest.append(client.packet())
            except TimeoutError:
                rest.append('open')
        seen[value] = rest
    return seen


def process_facts(lab):
    script = lab.script('facts.php', SLEEP + ' print_r(getenv()); print_r($_ENV);')
    lab.start(PHP_LSAPI_CHILDREN='3', LSAPI_CHILDREN='2', LSAPI_SECRET_THING='1', LSPHP_X='kept', MY='value')

    def facts(pid):
        status = open(f'/proc/{pid}/status').read()
        ignored = int(re.search(r'SigIgn:\s*(\w+)', status).group(1), 16)
        limits = re.search('Max core file size.*', open(f'/proc/{pid}/limits').read()).group()
        descriptors = {n: os.readlink(f'/proc/{pid}/fd/{n}') for n in '012'}
        return (open(f'/proc/{pid}/cmdline', 'rb').read().rstrip(b'\0'), open(f'/proc/{pid}/comm').read(), bool(ignored >> 12 & 1),
                limits, descriptors, os.getsid(pid) == pid)
    seen = [facts(lab.process.pid)]
    client = lab.connect()
    client.send(script, lab.home, query='ms=300')
    time.sleep(0.15)
    worker = lab.workers()[0]
    seen.append(facts(worker))
    seen.append(client.response())
    time.sleep(0.1)
    seen.append(facts(worker))
    lab.start(LSAPI_CHILDREN='3', LSAPI_ALLOW_CORE_DUMP='1')
    seen.append(facts(lab.process.pid))
    return seen


def title_overwrites_environment(lab):
    """A short argv, as the launcher gives: the running script's name is written over the first variables."""
    script = lab.script('env.php', '<?php print_r(getenv());')
    seen = []
    for first in ({}, {'LSAPI_FIRST': 'shield' * 20}):
        lab.stop()
        process = lab.process = subprocess.Popen(['lsphp', '-b', '127.0.0.1:9751'], executable=lab.binary, **NOBODY,
                                                 env={**first, 'FIRST_VARIABLE': 'one', 'SECOND': 'two', 'LSAPI_CHILDREN': '3', 'LAST': 'three'})
        within(4, lambda: lab.listening('127.0.0.1:9751'))
        connection = lab.connect()
        seen.append([connection.request(script, lab.home)['body'] for _ in range(2)])
        assert process.poll() is None
    return seen


def listeners(lab):
    script, seen = lab.script('ok.php', '<?php echo "ok";'), []
    lab.start(bind=f'{lab.home}/socket', LSAPI_CHILDREN='3')
    seen.append(lab.connect(f'{lab.home}/socket').request(script, lab.home))
    for bind, address in (('[::]:9751', ADDRESS), ('[::1]:9751', ('::1', 9751)), ('*:9751', ADDRESS), ('localhost:9751', ADDRESS)):
        lab.start(bind=bind, LSAPI_CHILDREN='3')
        seen.append(lab.connect(address).request(script, lab.home))
    for bind in ('9751', '127.0.0.1:0', '127.0.0.1:70000', '[::1', '1.2.3.4:9751'):
        result = subprocess.run([lab.binary, '-b', bind], capture_output=True, text=True, timeout=5, **NOBODY)
        seen.append((bind, result.returncode, result.stdout, re.sub('(]: ).*', r'\1', result.stderr)))
    lab.stop()
    listener = socket.create_server(ADDRESS, backlog=50)
    lab.process = subprocess.Popen(['lsphp'], executable=lab.binary, stdin=listener, env={'LSAPI_CHILDREN': '3'}, stderr=subprocess.DEVNULL, **NOBODY)
    listener.close()
    seen.append(lab.connect().request(script, lab.home))
    seen.append(subprocess.run([lab.binary], stdin=subprocess.DEVNULL, capture_output=True, timeout=5, **NOBODY).returncode)
    return seen
