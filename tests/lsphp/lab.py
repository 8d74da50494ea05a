"""Where a scenario runs: a directory of scripts and one lsphp at a time, started as nobody."""
import os
import re
import signal
import subprocess
import time

from lsapi import Connection

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
