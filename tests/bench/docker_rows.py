"""The rows that need containers: a start as a customer sees it, and many idle sites on one host."""
import glob
import json
import os
import statistics
import subprocess
import tempfile
import time

from lsapi import body_of
from measure import row

UID = 61045
ROOT = '/mnt/users/alice/example.com/public_html'
STARTS = 150
STOPS = 40
SITES = 200
IDLE_SECONDS = 60


class Docker:
    def __init__(self, program, image):
        self.program, self.image, self.names = program, image, []

    def __call__(self, *arguments):
        return subprocess.run([self.program, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    def create(self, name, home, plain, *more):
        """A site, with cac-lsphp or with lsphp itself as the entrypoint and all else as cac-lsphp sets it."""
        options = ['--name', name, '--memory', '1g', '-v', f'{home}:/home/alice', *more]
        self.names.append(name)
        if not plain:
            site = ['-e', 'user=alice', '-e', f'uid={UID}', '-e', 'domain=example.com']
            return self('create', *options, *site, self.image)
        env = ['-e', 'PHP_LSAPI_CHILDREN=7', '-e', 'LSAPI_EXTRA_CHILDREN=0', '-e', 'LSPHP_ENABLE_USER_INI=on',
               '-e', 'LSAPI_MAX_IDLE_CHILDREN=2', '-e', 'LSAPI_MAX_IDLE=60', '-e', 'LSAPI_MAX_PROCESS_TIME=300',
               '-e', 'PHP_LSAPI_MAX_REQUESTS=500', '-e', 'PHP_INI_SCAN_DIR=:/home/alice/php.d']
        lsphp = self('run', '--rm', '--entrypoint', 'sh', self.image, '-c', 'ls /usr/local/lsws/lsphp*/bin/lsphp')
        return self('create', *options, *env, '--user', f'{UID}:{UID}', '--security-opt', 'no-new-privileges',
                    '--cap-drop', 'ALL', '--entrypoint', lsphp, self.image, '-b', '0.0.0.0:9000')

    def remove(self):
        for at in range(0, len(self.names), 50):
            subprocess.run([self.program, 'rm', '-f', *self.names[at:at + 50]], capture_output=True)
        self.names.clear()


def make_home(folder, docker, content='<?php echo "up";'):
    """A page, and for the plain lsphp the ini that cac-lsphp would write."""
    os.makedirs(f'{folder}/public_html')
    os.makedirs(f'{folder}/php.d')
    with open(f'{folder}/public_html/index.php', 'w') as page:
        page.write(content)
    plan = docker('run', '--rm', '-e', 'user=alice', '-e', f'uid={UID}', '--memory', '1g', docker.image, 'plan', '--format', 'json')
    ours = ('auto_prepend_file', 'opcache.preload')  # the normaliser, which plain lsphp has not
    directives = {name: value for name, value in json.loads(plan)['ini']['directives'].items() if name not in ours}
    with open(f'{folder}/php.d/90.ini', 'w') as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in directives.items())
    subprocess.run(['chown', '-R', f'{UID}:{UID}', folder], check=True)


def first_answer(docker, name, root):
    """Milliseconds from `docker start` until PHP has answered."""
    start = time.perf_counter()
    docker('start', name)
    address = docker('inspect', '--format', '{{.NetworkSettings.IPAddress}}', name)
    while time.perf_counter() - start < 20:
        try:
            if body_of((address, 9000), f'{root}/index.php', root, 1) == b'up':
                return (time.perf_counter() - start) * 1e3
        except OSError:
            time.sleep(0.001)
    raise RuntimeError(f'{name} does not answer: {docker("logs", name)}')


def stop(docker, name, root):
    """Milliseconds that `docker stop` takes once PHP has answered."""
    first_answer(docker, name, root)
    start = time.perf_counter()
    docker('stop', name)
    elapsed = (time.perf_counter() - start) * 1e3
    if docker('inspect', '--format', '{{.State.ExitCode}}', name) != '0':
        raise RuntimeError(f'{name} was killed: {docker("logs", name)}')
    return elapsed


def mean_of_the_middle(samples):
    """Without the fifth at either end. An engine's times scatter by a tenth: medians of 40 starts of the same
    container were up to 4 % apart, this mean of 150 stays within 2."""
    cut = len(samples) // 5
    return statistics.mean(sorted(samples)[cut:-cut])


def starts_and_stops(docker, home):
    docker.create('cac-bench-ours', home, plain=False)
    docker.create('cac-bench-plain', home, plain=True)
    row('container start to first page', 'plain lsphp', *compared(docker, first_answer, STARTS), 'ms', 1.03)
    row('docker stop', 'plain lsphp', *compared(docker, stop, STOPS), 'ms', 1.03)
    docker.remove()


def compared(docker, measure, turns):
    """What both containers take for it."""
    samples = {'cac-bench-ours': [], 'cac-bench-plain': []}
    for turn in range(turns + 1):
        # Each goes first as often as the other: what the one before it left is still being cleared away.
        for name, taken in sorted(samples.items(), reverse=turn % 2 == 1):
            root = ROOT if name == 'cac-bench-ours' else '/home/alice/public_html'
            elapsed = measure(docker, name, root)
            subprocess.run([docker.program, 'kill', name], capture_output=True)
            if turn > 0:
                taken.append(elapsed)
    return map(mean_of_the_middle, samples.values())


def host_pid(docker, name):
    return int(docker('inspect', '--format', '{{.State.Pid}}', name))


def tree(pid):
    """A process and what it forked."""
    children = open(f'/proc/{pid}/task/{pid}/children').read().split()
    return [pid, *(below for child in children for below in tree(int(child)))]


def pss_kib(pid):
    for line in open(f'/proc/{pid}/smaps_rollup'):
        if line.startswith('Pss:'):
            return int(line.split()[1])
    return 0


def cpu_ns(pid):
    return sum(int(open(path).read().split()[0]) for path in glob.glob(f'/proc/{pid}/task/*/schedstat'))


def start_sites(docker, home):
    """The processes of SITES sites of each kind, all of all containers: {plain: pids}.

    They start in turns, so that neither kind has the better moments to wake up in.
    """
    sites = [(f'cac-bench-{kind}-{number}', kind == 'plain') for number in range(SITES) for kind in ('ours', 'plain')]
    for name, plain in sites:
        docker.create(name, home, plain, '--no-healthcheck')
    for at in range(0, len(sites), 20):
        docker('start', *(name for name, _ in sites[at:at + 20]))
    time.sleep(5)
    return {kind: [pid for name, plain in sites if plain == kind for pid in tree(host_pid(docker, name))] for kind in (False, True)}


def wake_ups(pid):
    return next(int(line.split()[1]) for line in open(f'/proc/{pid}/status') if line.startswith('voluntary_ctxt_switches'))


def many_sites(docker, home):
    """Both kinds at the same time: what the machine does beside is the same for them. Without checks, which
    cost what the engine takes for them, see the rows of healthcheck for our part."""
    sites = start_sites(docker, home)

    def totals(measure):
        return [sum(map(measure, sites[plain])) for plain in (False, True)]

    cpu, woken = totals(cpu_ns), totals(wake_ups)
    time.sleep(IDLE_SECONDS)
    our_cpu, plain_cpu = ((after - before) / 1e6 for after, before in zip(totals(cpu_ns), cpu))
    our_woken, plain_woken = (after - before for after, before in zip(totals(wake_ups), woken))
    our_memory, plain_memory = (kib / 1024 for kib in totals(pss_kib))
    docker.remove()
    row(f'{SITES} idle sites, memory', f'{SITES} plain lsphp', our_memory, plain_memory, 'MiB', 1.01, instead=(
        1.05, 'the preloaded normaliser: lsphp runs a script once before it forks, 0.2 MiB a site; each page would open a file'))
    row(f'{SITES} idle sites, CPU in {IDLE_SECONDS} s', f'{SITES} plain lsphp', our_cpu, plain_cpu, 'ms', 1.01, instead=(
        1.05, 'nothing of ours is there to run, see the wake-ups: two sets of the same lsphp differ by some percent'))
    row(f'{SITES} idle sites, wake-ups', f'{SITES} plain lsphp', our_woken, plain_woken, '', 1.01)


def main():
    docker = Docker(os.environ['CAC_TEST_DOCKER'], os.environ['CAC_TEST_IMAGE'])
    with tempfile.TemporaryDirectory() as folder:
        try:
            make_home(f'{folder}/alice', docker)
            starts_and_stops(docker, f'{folder}/alice')
            many_sites(docker, f'{folder}/alice')
        finally:
            docker.remove()


if __name__ == '__main__':
    main()
