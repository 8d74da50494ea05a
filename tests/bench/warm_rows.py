"""A WordPress site that starts and reloads, with opcache's file cache and without, beside plain lsphp: how long its
first visitors wait. Each start is a new container; the database is another, which stays."""
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from docker_rows import ROOT, Docker, make_home
from lsapi import body_of
from measure import row

ROUNDS = int(os.environ.get('CAC_BENCH_WARM_ROUNDS', 5))
VISITORS = 7  # as many as there are workers
PAGES = 100
SECONDS = 10
FIRST_WAIT = 60

PLAIN, COLD, WARM = 'plain', 'cold', 'warm'
CACHE = ('-e', 'CAC_OPCACHE_FILE_CACHE=/home/alice/.opcache')
SUPERVISED = ('-e', 'CAC_SUPERVISE=1')
WARM_UP = (*CACHE, '-e', 'CAC_WARM_UP=/')
PAGE = {'HTTP_HOST': 'example.com', 'REQUEST_URI': '/', 'SERVER_PROTOCOL': 'HTTP/1.1', 'SERVER_PORT': '80',
        'REMOTE_ADDR': '127.0.0.1'}
DATABASE = ('chown mysql: /var/lib/mysql /run/mysqld && mariadb-install-db --user=mysql --skip-test-db >/dev/null && '
            'exec mariadbd --user=mysql --bind-address=0.0.0.0 --init-file=/database.sql')
INSTALL = ('$_SERVER["HTTP_HOST"] = "example.com"; define("WP_INSTALLING", true); require "public_html/wp-load.php"; '
           'require "public_html/wp-admin/includes/upgrade.php"; '
           'wp_install("Bench", "admin", "a@example.com", true, "", "a-long-secret-1"); echo "installed";')


class Bench:
    """One network with a database and the home of the site."""

    def __init__(self, docker, folder):
        self.docker, self.home, self.network = docker, f'{folder}/alice', f'cac-bench-warm-{os.getpid()}'

    def prepare(self, repository):
        docker = self.docker
        make_home(self.home, docker)
        docker('run', '--rm', '--network', 'none', '--entrypoint', 'sh', '-v', f'{self.home}/public_html:/target',
               docker.image, '-c', 'rm /target/index.php && cp -rL /usr/share/wordpress/. /target && rm -f /target/wp-config.php')
        subprocess.run(['install', f'{repository}/tests/wordpress/wp-config.php', f'{self.home}/public_html'], check=True)
        subprocess.run(['chown', '-R', '61045:61045', self.home], check=True)
        docker('network', 'create', self.network)
        docker.names.append(f'{self.network}-db')
        docker('run', '-d', '--name', docker.names[-1], '--network', self.network, '--network-alias', 'db',
               '--no-healthcheck', '--tmpfs', '/var/lib/mysql', '--tmpfs', '/run/mysqld',
               '-v', f'{repository}/tests/wordpress/database.sql:/database.sql:ro', '--entrypoint', 'sh', docker.image,
               '-c', DATABASE)
        self.install()

    def install(self):
        with self.site(COLD) as site:
            site.start()
            for _ in range(120):
                command = ('exec', site.name, 'cac-lsphp', 'exec', '--', 'php', '-r', INSTALL)
                with contextlib.suppress(subprocess.CalledProcessError):
                    if 'installed' in self.docker(*command):
                        return
                time.sleep(0.5)
        raise RuntimeError('WordPress cannot be installed: the database does not answer')

    @contextlib.contextmanager
    def site(self, kind, *more):
        """A container that did not exist before, from just before its start."""
        name = f'{self.network}-{kind}'
        options = ('--no-healthcheck', '--network', self.network, *more, *(CACHE if kind == WARM else ()))
        self.docker.create(name, self.home, kind == PLAIN, *options)
        self.docker.names.remove(name)
        try:
            yield Site(self.docker, name, '/home/alice/public_html' if kind == PLAIN else ROOT)
        finally:
            subprocess.run([self.docker.program, 'rm', '-f', name], capture_output=True)

    def remove(self):
        self.docker.remove()
        subprocess.run([self.docker.program, 'network', 'rm', self.network], capture_output=True)


class Site:
    def __init__(self, docker, name, root):
        self.docker, self.name, self.root = docker, name, root

    def start(self):
        """When it was told to."""
        began = time.perf_counter()
        self.docker('start', self.name)
        self.address = (self.docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', self.name), 9000)
        return began

    def wait_for_listener(self):
        """Without a connection, which would take a worker."""
        pid = self.docker('inspect', '--format', '{{.State.Pid}}', self.name)
        for _ in range(20000):
            with open(f'/proc/{pid}/net/tcp') as table:
                if any(line.split()[1].endswith(':2328') and line.split()[3] == '0A' for line in table.readlines()[1:]):
                    return
            time.sleep(0.0005)
        raise RuntimeError(f'{self.name} does not listen: {self.docker("logs", self.name)}')

    def page(self):
        """Milliseconds that the front page takes."""
        start = time.perf_counter()
        body = body_of(self.address, f'{self.root}/index.php', self.root, FIRST_WAIT, PAGE)
        if b'<title>Bench' not in body:
            raise RuntimeError(f'not the front page: {body[:300]}')
        return (time.perf_counter() - start) * 1e3

    def visited(self, enough):
        """[(when it was asked for, milliseconds)] of each page that VISITORS got until `enough`(pages so far)."""
        answers, faults = [], []

        def visit():
            try:
                while not enough(len(answers)):
                    asked = time.perf_counter()
                    answers.append((asked, self.page()))
            except Exception as fault:  # noqa: BLE001  the thread's, for the caller
                faults.append(fault)

        visitors = [threading.Thread(target=visit) for _ in range(VISITORS)]
        [visitor.start() for visitor in visitors]
        [visitor.join() for visitor in visitors]
        if faults:
            raise faults[0]
        return answers


def first_pages(bench, kind):
    """Milliseconds from the container's start to its first page, those of the page alone, and to PAGES pages."""
    with bench.site(kind) as site:
        began = site.start()
        site.wait_for_listener()
        alone = site.page()
        first = (time.perf_counter() - began) * 1e3
        site.visited(lambda so_far: so_far >= PAGES - 1 - VISITORS)
        return first, alone, (time.perf_counter() - began) * 1e3


def under_load(bench, kind):
    """99 % of the pages of the first SECONDS take at most this long, and the slowest."""
    with bench.site(kind) as site:
        site.start()
        site.wait_for_listener()
        until = time.perf_counter() + SECONDS
        took = sorted(took for _, took in site.visited(lambda _: time.perf_counter() > until))
        return percentile(took, 99), took[-1]


def reloaded(bench, more):
    """The slowest page from a reload on, and 99 % of those of a quiet second before it."""
    with bench.site(COLD, *SUPERVISED, *more) as site:
        site.start()
        site.wait_for_listener()
        began = time.perf_counter()
        reload_at, over = began + 5, began + SECONDS

        def reload():
            time.sleep(reload_at - time.perf_counter())
            bench.docker('exec', site.name, 'cac-lsphp', 'reload')

        reloading = threading.Thread(target=reload)
        reloading.start()
        answers = site.visited(lambda _: time.perf_counter() > over)
        reloading.join()
        quiet = sorted(took for at, took in answers if reload_at - 1.5 < at < reload_at - 0.5)
        after = [took for at, took in answers if at >= reload_at - 0.2]
        return max(after), percentile(quiet, 99)


def percentile(numbers, percent):
    return numbers[min(len(numbers) - 1, len(numbers) * percent // 100)]


def in_turns(kinds, measure):
    """Medians of ROUNDS rounds: {kind: (…)}."""
    samples = {kind: [] for kind in kinds}
    for turn in range(ROUNDS):
        for kind in kinds[::1 if turn % 2 else -1]:
            samples[kind].append(measure(kind))
    return {kind: [statistics.median(column) for column in zip(*rows)] for kind, rows in samples.items()}


def main():
    docker = Docker(os.environ['CAC_TEST_DOCKER'], os.environ['CAC_TEST_IMAGE'])
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(docker, folder)
        try:
            bench.prepare(sys.argv[1])
            first_pages(bench, WARM)  # fills the cache
            kinds = [PLAIN, COLD, WARM]
            starts = in_turns(kinds, lambda kind: first_pages(bench, kind))
            loads = in_turns(kinds, lambda kind: under_load(bench, kind))
            for kind, of in ((COLD, 'without a file cache'), (PLAIN, 'plain lsphp')):
                names = ('container start to first WordPress page', 'the first WordPress page alone',
                         f'container start to {PAGES} WordPress pages')
                for at, name in enumerate(names):
                    limit = 0.5 if (kind, at) == (COLD, 1) else None
                    row(f'{name}, file cache', of, starts[WARM][at], starts[kind][at], 'ms', limit)
                for at, name in enumerate((f'first {SECONDS} s under load, 99 %', f'first {SECONDS} s under load, slowest')):
                    limit = 0.5 if (kind, at) == (COLD, 1) else None
                    row(f'{name}, file cache', of, loads[WARM][at], loads[kind][at], 'ms', limit)
            reloads = {'cold': (), 'warm': WARM_UP}
            slowest = in_turns(list(reloads), lambda kind: reloaded(bench, reloads[kind]))
            row('slowest page of a reload, warm-up', '99 % of a quiet second', *slowest['warm'], 'ms', 2)
            row('slowest page of a reload, warm-up', 'without a file cache', slowest['warm'][0], slowest['cold'][0], 'ms')
        finally:
            bench.remove()


if __name__ == '__main__':
    main()
