"""What is asked of an lsphp: each scenario takes a Lab and returns what it saw, as plain data without pids or times."""
import base64
import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from lsapi import Connection, begin_request

ADDRESS = ('127.0.0.1', 9751)
NOBODY = {'user': 65534, 'group': 65534, 'extra_groups': []}


class Lab:
    """A directory of scripts and one lsphp at a time."""

    def __init__(self, binary, home):
        self.binary, self.home, self.process, self.connections = binary, home, None, []

    def script(self, name, text):
        path = f'{self.home}/{name}'
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as file:
            file.write(text)
        os.chmod(path, 0o644)
        return path

    def start(self, bind='127.0.0.1:9751', before=(), **env):
        self.stop()
        self.stderr = f'{self.home}/stderr'
        settings = {'LSAPI_FIRST': 'x' * 80, 'PATH': '/usr/bin:/bin'} | env  # see title_overwrites_environment
        arguments = ['lsphp'] + (['-b', bind] if bind else [])
        with open(self.stderr, 'w') as stderr:
            os.fchmod(stderr.fileno(), 0o666)
            if before:  # a namespace needs root, so it drops by itself
                self.process = subprocess.Popen([*before, self.binary, *arguments[1:]], env=settings, stderr=stderr)
            else:
                self.process = subprocess.Popen(arguments, executable=self.binary, env=settings, stderr=stderr, **NOBODY)
        for _ in range(200):
            if self.listening(bind):
                return
            time.sleep(0.02)
        raise RuntimeError('does not listen: ' + open(self.stderr).read())

    def listening(self, bind):
        what = 'unix' if bind.startswith('/') else 'tcp6' if bind.startswith('[') else 'tcp'
        table = open(f'/proc/net/{what}').read()
        return bind in table if what == 'unix' else re.search(r':2617 0+:0000 0A', table)

    def stop(self):
        for connection in self.connections:
            connection.close()
        self.connections = []
        if self.process:
            for pid in self.workers() + [self.process.pid]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
            self.process = None
            time.sleep(0.05)

    def connect(self, address=ADDRESS, timeout=10):
        self.connections.append(Connection(address, timeout))
        return self.connections[-1]

    def ask(self, script, **kwargs):
        connection = self.connect()
        answer = connection.request(script, self.home, **kwargs)
        connection.close()
        time.sleep(0.05)  # whether the next one finds this worker listening again must not be chance
        return answer

    def workers(self):
        return children(self.process.pid)

    def log(self):
        return re.sub(r'\[UID:\d+\]\[\d+\] ', '', open(self.stderr).read())


def children(pid):
    try:
        return [int(p) for p in open(f'/proc/{pid}/task/{pid}/children').read().split()]
    except FileNotFoundError:
        return []


def alive(pid):
    try:
        return open(f'/proc/{pid}/stat').read().rsplit(')')[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def within(seconds, condition):
    """Whether the condition became true in time."""
    end = time.time() + seconds
    while not condition():
        if time.time() > end:
            return False
        time.sleep(0.01)
    return True


SLEEP = '<?php echo "begin"; usleep((int)($_GET["ms"] * 1000)); echo "end";'
DUMP = '''<?php unset($_SERVER["REQUEST_TIME"], $_SERVER["REQUEST_TIME_FLOAT"]);
echo json_encode(["server" => $_SERVER, "headers" => getallheaders(), "apache" => apache_request_headers(), "get" => $_GET,
 "post" => $_POST, "cookie" => $_COOKIE, "cwd" => getcwd(), "file" => __FILE__, "sapi" => PHP_SAPI, "env" => getenv(),
 "path" => getenv("PATH"), "http" => getenv("HTTP_HOST"), "root" => getenv("DOCUMENT_ROOT"),
 "files" => array_map(fn($f) => [$f["name"], $f["size"], $f["error"]], $_FILES), "argv" => $argv ?? null],
 JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE);'''
HEADERS = [('Host', 'example.com'), ('X-Some-Header', 'a, b'), ('Cookie', 'a=1; b=%202'), ('Accept', '*/*'),
           ('Authorization', 'Basic ' + base64.b64encode(b'joe:secret').decode()), ('X-Twice', '1'), ('X-Twice', '2'),
           ('Transfer-Encoding', 'chunked'), ('Via', '1.1 front'), ('X-Under_score', 'u'), ('X-Empty', ''), ('X-' + 'n' * 300, 'long')]


def globals_and_headers(lab):
    script = lab.script('www/dump.php', DUMP)
    lab.start(LSAPI_CHILDREN='3', SITE_VARIABLE='kept', HTTP_HOST='from-process')
    env = [('SERVER_NAME', 'example.com'), ('HTTPS', 'on'), ('EMPTY', ''), ('PATH', '/from/front/end')]
    return [lab.ask(script, query='a=1&b[]=2&c=%C3%A9', headers=HEADERS, env=env), lab.ask(script, big=True, headers=HEADERS),
            lab.ask(script)]


def request_bodies(lab):
    script = lab.script('body.php', '<?php $b = file_get_contents("php://input"); echo strlen($b), " ", md5($b);')
    dump = lab.script('dump.php', DUMP)
    lab.start(LSAPI_CHILDREN='3')
    connection, seen = lab.connect(), []
    for size in (0, 1, 8148, 8192, 65536, 3_000_000):
        body = bytes(range(256)) * (size // 256 + 1)
        for declared in (size, -2):
            headers = [('Content-Type', 'text/plain'), ('Content-Length', str(size))]
            seen.append(connection.request(script, lab.home, method='POST', headers=headers, body=body[:size], declared=declared))
    form = [('Content-Type', 'application/x-www-form-urlencoded')]
    seen.append(connection.request(dump, lab.home, method='POST', headers=form, body=b'x=1&y[k]=%00z'))
    part = b'--B\r\nContent-Disposition: form-data; name="f"; filename="n.txt"\r\n\r\n' + b'z' * 100_000 + b'\r\n--B--\r\n'
    upload = [('Content-Type', 'multipart/form-data; boundary=B')]
    seen.append(connection.request(dump, lab.home, method='POST', headers=upload, body=part))
    unread = lab.script('unread.php', '<?php echo 1;')
    seen += [connection.request(unread, lab.home, method='POST', body=b'u' * 500_000), connection.request(unread, lab.home)]
    return seen


def responses(lab):
    scripts = ['', 'header("X-A: 1"); header("Set-Cookie: a=1", false); header("Set-Cookie: b=2", false); echo "x";',
               'http_response_code(404); echo "no";', 'header("HTTP/1.1 299 Odd"); echo 1;', 'header("Location: /x"); exit;',
               'header("HTTP/1.1 304 Not Modified");', 'header("Status: 503 Busy"); echo 2;', 'header_remove("Content-type"); echo 1;',
               'ini_set("default_charset", ""); ini_set("default_mimetype", ""); echo 3;', 'header("X-Long: " . str_repeat("l", 32760));',
               'header("X-Long: " . str_repeat("l", 33000)); echo 4;', 'for ($i = 0; $i < 1100; $i++) header("X-$i: 1"); echo 5;',
               'for ($i = 0; $i < 3; $i++) { echo $i; flush(); }', 'flush(); echo 6;', 'echo str_repeat("b", 8191);',
               'echo str_repeat("b", 8192);', 'echo "head"; echo str_repeat("b", 100000);', 'ob_start(); echo 1; header("X-Late: 1");',
               'echo implode("|", array_keys(apache_response_headers()));', 'setcookie("c", "v"); print_r(litespeed_response_headers());',
               'echo http_response_code(), connection_status();', 'echo 1; throw new Exception("boom");', 'exit(7);', 'syntax error here',
               'error_log("to the log"); echo 1; error_log("again"); echo 2;', 'trigger_error("w", E_USER_WARNING);',
               'echo str_repeat("b", 5000); error_log("between"); echo 3;', 'error_log(str_repeat("L", 8000) . "end");',
               'fwrite(STDOUT ?? null, "x");', 'file_put_contents("php://stdout", "out\\n"); file_put_contents("php://stderr", "err\\n");',
               'register_shutdown_function(function () { echo "bye"; }); echo "hi";', 'echo ini_get("auto_prepend_file"), getcwd();']
    paths = [lab.script(f'r{i}.php', '<?php ' + text) for i, text in enumerate(scripts)] + [f'{lab.home}/missing.php', lab.home]
    lab.script('prepend.php', '<?php echo "[prepended]";')
    lab.start(LSAPI_CHILDREN='3')
    connection = lab.connect()
    seen = [(text, connection.request(path, lab.home)) for text, path in zip(scripts + ['missing', 'directory'], paths)]
    seen.append(connection.request(paths[1], lab.home, method='HEAD'))
    prepend = [(b'\x01\x04auto_prepend_file', f'{lab.home}/prepend.php'), (b'\x01\x04output_buffering', '4096')]
    seen.append(connection.request(paths[1], lab.home, special=prepend))
    return seen, lab.log()


def special_settings(lab):
    script = lab.script('ini.php', '''<?php $was = array_map("ini_get", ["memory_limit", "precision", "error_log", "open_basedir"]);
        echo json_encode([$was, ini_set("memory_limit", "64M"), ini_get("memory_limit"), ini_set("precision", "5"), ini_get("precision")]);''')
    lab.start(LSAPI_CHILDREN='3')
    connection = lab.connect()
    kinds = [[(b'\x01\x04memory_limit', '99M')], [(b'\x01\x04open_basedir', lab.home), (b'\x01\x04error_log', '/tmp/x y;"$')],
             [(b'\x01\x05precision', '9')], [(b'\x01\x05open_basedir', lab.home)], [(b'\x01\x01memory_limit', '98M')], [('precision', '3')],
             [(b'\x01\x04engine', '0')], [(b'\x01\x04engine', '1')], [(b'\x01\x04nonsense', '1')], []]
    return [connection.request(script, lab.home, special=kind) for kind in kinds]


def user_ini(lab):
    script = lab.script('www/a/b/show.php', '<?php echo ini_get("precision"), " ", ini_get("memory_limit"), " ", ini_get("user_ini.filename");')
    outside = lab.script('other/show.php', '<?php echo ini_get("precision");')
    for path, text in (('.user.ini', 'precision=1'), ('www/.user.ini', 'precision=2\nmemory_limit=77M'), ('www/a/b/.user.ini', 'precision=4'),
                       ('other/.user.ini', 'precision=5\nopen_basedir=/nowhere')):
        lab.script(path, text)
    seen = []
    for value in ('on', 'ON', 'off', '1', None):
        lab.start(LSAPI_CHILDREN='3', **({'LSPHP_ENABLE_USER_INI': value} if value else {}))
        for env_root in (f'{lab.home}/www', f'{lab.home}/www/', f'{lab.home}/www/a', '/elsewhere', ''):
            connection = lab.connect()
            seen.append((value, env_root, connection.request(script, env_root)['body'], connection.request(outside, env_root)['body']))
            connection.close()
    return seen


def finish_request(lab):
    done = f'{lab.home}/done'
    script = lab.script('finish.php', f'''<?php header("X-A: 1"); echo "sent"; $r = litespeed_finish_request(); echo "lost"; error_log("after");
        usleep(200000); file_put_contents("{done}", var_export([$r, litespeed_finish_request(), connection_status(), headers_sent()], true));''')
    empty = lab.script('empty.php', '<?php litespeed_finish_request(); echo "lost";')
    lab.start(LSAPI_CHILDREN='3')
    connection = lab.connect()
    first = connection.request(script, lab.home)
    early = not os.path.exists(done)
    rest = [connection.packet(), connection.packet()]
    late = within(2, lambda: os.path.exists(done) and os.path.getsize(done) > 0)
    again = lab.connect()
    return first, early, rest, late, open(done).read(), again.request(empty, lab.home), again.packet(), again.packet(), lab.log()


def nonsense(lab):
    script = lab.script('ok.php', '<?php echo "ok";')
    lab.start(LSAPI_CHILDREN='3')
    good = begin_request([('SCRIPT_FILENAME', script), ('SCRIPT_NAME', '/'), ('QUERY_STRING', ''), ('REQUEST_METHOD', 'GET')], HEADERS[:2])
    bad_offset = good[:16] + b'\xff\xff\xff\x7f' + good[20:]
    cases = {'magic': b'XX' + good[2:], 'type': good[:2] + b'\x05' + good[3:], 'length': good[:4] + b'\xff\xff\xff\x7f' + good[8:],
             'longer than 65535': good[:4] + b'\x00\x00\x02\x00' + good[8:], 'offset': bad_offset, 'env count': good[:36] + b'\x09\x00\x00\x00' + good[40:],
             'http': b'GET / HTTP/1.0\r\n\r\n' * 10, 'header length': good[:8] + b'\x00\x10\x00\x00' + good[12:]}
    seen = {}
    for name, data in cases.items():
        connection = lab.connect(timeout=2)
        connection.socket.sendall(data)
        try:
            seen[name] = [p for p in connection.response()['packets'] if p != 'PID']
        except TimeoutError:
            seen[name] = 'no answer'
        connection.close()
        time.sleep(0.05)
    cut = lab.connect()
    cut.socket.sendall(good[:60])
    cut.socket.shutdown(socket.SHUT_WR)
    return seen, cut.response()['packets'], lab.ask(script)['body']


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
    lab.start(LSAPI_CHILDREN='3', LSAPI_KEEP_LISTEN='0')
    first, second = lab.ask(script), lab.ask(script)
    return pids, end, reused, first['body'] == second['body']


def idle_workers(lab):
    """How many stay: after their clients left, or holding idle connections, at moments when no worker is about to decide."""
    script, seen = lab.script('ok.php', '<?php echo "ok";'), {}
    for clients, close, env, moments in ((5, True, {}, (0.7, 1.6, 9, 12.5)), (1, True, {'LSAPI_KEEP_LISTEN': '2'}, (12,)),
                                         (5, False, {}, (0.7, 5)), (3, False, {'LSAPI_MAX_IDLE': '2'}, (0.7, 4)),
                                         (3, False, {'LSAPI_MAX_IDLE_CHILDREN': '2'}, (5,)),
                                         (4, False, {'LSAPI_MAX_IDLE_CHILDREN': '1'}, (0.7, 5))):
        lab.start(LSAPI_CHILDREN='4', **env)
        connections = [lab.connect() for _ in range(clients)]
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


def opcache(lab):
    script = lab.script('op.php', '<?php $s = opcache_get_status(); echo json_encode([array_keys($s["scripts"]), $s["scripts"][__FILE__]["hits"] ?? 0, $s["opcache_enabled"]]);')
    lab.script('ini/z.ini', 'opcache.memory_consumption=64\nopcache.max_accelerated_files=8000\n')
    lab.start(LSAPI_CHILDREN='3', PHP_INI_SCAN_DIR=f':{lab.home}/ini')
    clients = [lab.connect() for _ in range(3)]
    seen = [c.request(script, lab.home)['body'] for c in clients for _ in range(2)]
    return seen, len(lab.workers())


def client_leaves(lab):
    done = f'{lab.home}/done'
    text = '''<?php ignore_user_abort((bool)$_GET["keep"]); register_shutdown_function(fn() => file_put_contents("%s", connection_status() . "|", FILE_APPEND));
        for ($i = 0; $i < 200; $i++) { echo str_repeat("x", (int)$_GET["size"]); flush(); usleep(1000); } file_put_contents("%s", "finished ", FILE_APPEND);'''
    script, ok = lab.script('big.php', text % (done, done)), lab.script('ok.php', '<?php echo "ok";')
    lab.start(LSAPI_CHILDREN='3')
    seen = []
    for query in ('keep=0&size=100000', 'keep=1&size=100000', 'keep=0&size=100', 'keep=1&size=100'):
        client = lab.connect()
        client.send(script, lab.home, query=query)
        client.packet()
        client.close()
        within(5, lambda: os.path.exists(done) and '|' in open(done).read())
        seen.append(open(done).read())
        os.unlink(done)
    return seen, lab.ask(ok)['body'], len(lab.workers()), lab.log()


def command_line(lab):
    script = lab.script('cli.php', '<?php echo PHP_SAPI, json_encode($argv), ini_get("display_errors"), getcwd(), getenv("X"), "\\n"; fwrite(STDERR ?? null, "e"); exit(3);')
    args = lab.script('args.php', '<?php echo json_encode([$argc, $argv, $_SERVER["X"], PHP_SAPI, ini_get("precision")]); exit(3);')
    ini = lab.script('php.ini', 'precision=7\n')
    seen = []
    for arguments in (['-v'], [script, 'a'], [args, '-x', 'b'], ['-c', ini, args], ['-c', lab.home, args], [f'{lab.home}/none.php']):
        result = subprocess.run([lab.binary, *arguments], capture_output=True, text=True, env={'X': 'y', 'PATH': '/bin'}, timeout=5, cwd='/', **NOBODY)
        seen.append((arguments, result.returncode, re.sub(r'\(built.*', '', result.stdout), result.stderr))
    return seen


ALL = [globals_and_headers, request_bodies, responses, special_settings, user_ini, finish_request, nonsense, prefork_counts, ceiling, backlog,
       signals_to_parent, signals_to_worker, alone, as_pid_1, recycling, idle_workers, parent_idle, runaway, give_up_connection, process_facts,
       title_overwrites_environment, listeners, opcache, client_leaves, command_line]
