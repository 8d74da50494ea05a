"""A pool of workers as visitors see it, through a real OpenLiteSpeed of 1, 2 and 8 processes: examples/compose.yaml
with as many copies of alice's site as there are candidates, each with its own way to start lsphp.

Prints rows for report.py, and the whole table, as the documentation has it, to the file that is named.
"""
import contextlib
import copy
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import yaml

from docker_rows import Docker, make_home
from measure import row

PROCESSES = (1, 2, 8)
CLIENTS = (4, 14, 28, 56)
PAGES_MS = (0, 20, 300)
BURST_MS = 100  # of the page that the longest burst is held to
SECONDS = 4  # a measurement, of those with an open end
BURST, BURSTS, BURST_PAUSE_MS = 7, 14, 800
# Not measured, for each candidate: after a lull lsphp has lost count of its busy workers, which pid 1 sees when they were
# all busy ten times (docs/front-end.md).
SETTLING, SETTLING_PAUSE_MS = 14, 150
UID = '61045'
PAGE = '<?php if ($ms = (int) $_GET["ms"]) usleep($ms * 1000); header("Content-Length: 6"); echo "served";'

OURS, PLAIN = 'alice', 'plain'
# How each candidate's service differs from alice's.
CANDIDATES = {
    OURS: {},
    PLAIN: {
        'entrypoint': ['/usr/local/lsws/lsphp82/bin/lsphp', '-b', '0.0.0.0:9000'],
        'user': f'{UID}:{UID}',
        'environment': {'PHP_LSAPI_CHILDREN': '7', 'LSAPI_EXTRA_CHILDREN': '0', 'LSAPI_MAX_IDLE_CHILDREN': '2',
                        'LSAPI_MAX_IDLE': '60', 'PHP_LSAPI_MAX_REQUESTS': '500', 'PHP_INI_SCAN_DIR': ':/home/alice/php.d'},
        'healthcheck': {'disable': True},
    },
}


@dataclass
class Answers:
    """Pages a second, milliseconds an answer, and answers that were no page."""
    throughput: float
    median: float
    p99: float
    worst: float
    failed: int


class FrontEnd:
    """One OpenLiteSpeed and its sites, up until it is left."""

    def __init__(self, processes, work, homes, visitors):
        self.processes, self.visitors = processes, visitors
        self.project = f'cac-bench-front-end-{os.getpid()}-{processes}'
        self.file = f'{work}/{processes}.yaml'
        network = f'10.{os.getpid() % 256}.{processes}'  # of its own
        self.environment = {**os.environ, 'SUBNET': f'{network}.0/24', 'FRONT_END_ADDRESS': f'{network}.254'}
        configuration = f'{work}/{processes}'
        shutil.copytree('examples/openlitespeed', configuration)
        configure(configuration, processes)
        with open('examples/compose.yaml') as example, open(self.file, 'w') as file:
            json.dump(compose(yaml.safe_load(example), configuration, homes), file)

    def __enter__(self):
        self.compose('up', '-d')
        # Its own address: docker's proxy would cost more than an empty page.
        self.address = self.environment['FRONT_END_ADDRESS']
        for site in CANDIDATES:
            self.wait_for(site)
        return self

    def __exit__(self, *_):
        self.compose('down', '-v', '-t', '2')

    def compose(self, *arguments):
        command = ['docker-compose', '-p', self.project, '-f', self.file, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        if done.returncode:
            raise RuntimeError(f'{" ".join(command)}: {done.stderr}')
        return done.stdout

    def wait_for(self, site):
        last = None
        for _ in range(100):
            try:
                if all(served for *_, served in self.visit(site, 0, 'bursts', 1, 1, 0)):
                    return
            except RuntimeError as error:
                last = error
            time.sleep(0.2)
        raise RuntimeError(f'{site} serves no page after 100 tries: {last or "error pages only"}')

    def visit(self, site, ms, *how):
        """[(seconds since the start, milliseconds, whether it was the page)], one for each answer."""
        command = [self.visitors, f'{self.address}:80', f'{site}.example', f'/index.php?ms={ms}', *map(str, how)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f'{site} through {self.processes} processes: {done.stderr}')
        answers = (map(int, line.split()) for line in done.stdout.splitlines())
        return [(at / 1e9, took / 1e6, served == 1) for at, took, served in answers]

    def steady(self, site, clients, ms):
        answers = self.visit(site, ms, 'steady', clients, SECONDS)
        return summary(answers, [at <= SECONDS for at, *_ in answers], SECONDS)

    def dropped(self, site):
        """Connects that the site's kernel dropped, the higher of ListenOverflows and ListenDrops."""
        container = self.compose('ps', '-q', site).strip()
        inspect = [os.environ['CAC_TEST_DOCKER'], 'inspect', '--format', '{{.State.Pid}}', container]
        pid = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.strip()
        with open(f'/proc/{pid}/net/netstat') as file:
            names, values = (line.split() for line in file if line.startswith('TcpExt:'))
        counters = dict(zip(names, values))
        return max(int(counters[name]) for name in ('ListenOverflows', 'ListenDrops'))

    def bursts(self, site, ms):
        self.visit(site, ms, 'bursts', BURST, SETTLING, SETTLING_PAUSE_MS)
        answers = self.visit(site, ms, 'bursts', BURST, BURSTS, BURST_PAUSE_MS)
        rounds = (answers[at:at + BURST] for at in range(0, len(answers), BURST))
        busy_ms = sum(max(took for _, took, _ in burst) for burst in rounds)
        return summary(answers, [True] * len(answers), busy_ms / 1e3)


def summary(answers, in_time, seconds):
    taken = [took for _, took, _ in answers]
    pages = sum(served and counts for (*_, served), counts in zip(answers, in_time))
    throughput, failed = pages / seconds, sum(not served for *_, served in answers)
    cuts = statistics.quantiles(taken, n=100, method='inclusive')
    return Answers(throughput, cuts[49], cuts[98], max(taken), failed)


def configure(folder, processes):
    """As shipped, but for the number of processes and a virtual host for each candidate."""
    path = f'{folder}/httpd_config.conf'
    with open(path) as file:
        text = re.sub(r'(?m)^(httpdWorkers\s+).*$', rf'\g<1>{processes}', file.read())
    with open(f'{folder}/vhosts/alice/vhconf.conf') as file:
        site = file.read()
    shutil.rmtree(f'{folder}/vhosts')
    block = re.search(r'(?ms)^virtualhost alice \{.*?^\}\n', text)[0]
    text = re.sub(r'(?ms)^virtualhost \w+ \{.*?^\}\n+', '', text)
    text = re.sub(r'(?m)^\s+map .*\n', '', text)
    for name in CANDIDATES:
        text += block.replace('virtualhost alice', f'virtualhost {name}')
        text = re.sub(r'(?m)^(listener http \{)$', rf'\1\n  map {name} {name}.example', text)
        os.makedirs(f'{folder}/vhosts/{name}')
        with open(f'{folder}/vhosts/{name}/vhconf.conf', 'w') as file:
            file.write(site.replace('alice', name))
    with open(path, 'w') as file:
        file.write(text)


def compose(example, configuration, homes):
    """The example with the candidates for sites, none of which is published."""
    alice, front_end = example['services']['alice'], example['services']['front-end']
    alice['image'] = os.environ['CAC_TEST_IMAGE']
    alice['volumes'][0] = f'{homes}/alice:/home/alice'
    alice['networks'] = ['sites']  # only one of the copies could have its address
    front_end['image'] = os.environ['CAC_TEST_FRONT_END']
    front_end['depends_on'] = list(CANDIDATES)
    del front_end['ports']
    front_end['volumes'] = [f'{configuration}/httpd_config.conf:/usr/local/lsws/conf/httpd_config.conf:ro',
                            f'{configuration}/vhosts:/usr/local/lsws/conf/vhosts:ro',
                            # By the path that every candidate's lsphp knows, so that plain lsphp needs no normaliser.
                            f'{homes}/alice:/mnt/users/alice/example.com:ro']
    services = {name: {**copy.deepcopy(alice), **more} for name, more in CANDIDATES.items()}
    services[PLAIN]['volumes'].append(f'{homes}/alice:/mnt/users/alice/example.com')
    return {'version': example['version'], 'services': {'front-end': front_end, **services},
            'networks': example['networks']}


def measure(front_ends):
    """{(processes, site, clients or None for bursts, ms): Answers}. All of them are up at the same time and take turns,
    so that what the machine does beside is the same for them."""
    answers = {}
    for ms in PAGES_MS:
        for clients in (*CLIENTS, None):
            for processes, front_end in front_ends.items():
                for site in CANDIDATES:
                    taken = front_end.steady(site, clients, ms) if clients else front_end.bursts(site, ms)
                    answers[processes, site, clients, ms] = taken
                    print(f'{processes} {site} {clients} {ms} {taken}', file=sys.stderr)
    return answers


def promises(answers, dropped, burst):
    """What the shipped example must hold with two processes and with eight."""
    for clients, name in ((14, '14 clients'), (None, f'bursts of {BURST}')):
        one, two = (answers[processes, OURS, clients, 20] for processes in (1, 2))
        if one.failed + two.failed:
            raise RuntimeError(f'{name}: {one.failed} and {two.failed} answers of 1 and 2 processes were no page')
        row(f'2 processes, {name}, 20 ms', '1 process', two.throughput, one.throughput, 'req/s', at_least=0.95)
        row(f'2 processes, {name}, 20 ms, worst', 'its budget of 200 ms', two.worst, 200, 'ms', 1)
    many = answers[8, OURS, 56, 20]
    if many.failed + burst.failed:
        raise RuntimeError(f'8 processes: {many.failed} and {burst.failed} answers were no page')
    row('8 processes, 56 clients, 20 ms, worst', 'its budget of 600 ms', many.worst, 600, 'ms', 1)
    row(f'8 processes, bursts of {BURST}, {BURST_MS} ms, worst', 'its budget of 150 ms', burst.worst, 150, 'ms', 1)
    row('8 processes, dropped connects', 'lsphp as it comes', dropped[OURS], dropped[PLAIN] or 1, '', 0)


def table(answers):
    """All of it, as Markdown; the documentation has some of these rows."""
    figures = ['pages/s', 'p50', 'p99', 'worst', 'failed']
    heads = ['processes', 'visitors', 'page', *figures, *(f'plain: {figure}' for figure in figures)]
    lines = [heads, ['---'] * len(heads)]
    for (processes, site, clients, ms), ours in answers.items():
        if site == OURS:
            visitors = f'{clients} clients' if clients else f'bursts of {BURST}'
            lines.append([f'{processes}', visitors, f'{ms} ms', *cells(ours), *cells(answers[processes, PLAIN, clients, ms])])
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def cells(taken):
    times = (f'{ms:,.{0 if ms >= 10 else 1}f} ms' for ms in (taken.median, taken.p99, taken.worst))
    return [f'{taken.throughput:,.0f}', *times, f'{taken.failed}']


def main():
    visitors, place = sys.argv[1:]
    docker = Docker(os.environ['CAC_TEST_DOCKER'], os.environ['CAC_TEST_IMAGE'])
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as stack:
        os.chmod(work, 0o755)
        make_home(f'{work}/homes/alice', docker, PAGE)
        front_ends = {processes: stack.enter_context(FrontEnd(processes, work, f'{work}/homes', visitors)) for processes in PROCESSES}
        answers = measure(front_ends)
        burst = front_ends[8].bursts(OURS, BURST_MS)
        dropped = {site: front_ends[8].dropped(site) for site in CANDIDATES}
    with open(place, 'w') as file:
        file.write(table(answers))
    promises(answers, dropped, burst)


if __name__ == '__main__':
    main()
