"""What the listeners of cac-lsphp cost: the list of allowed clients a request, and a site that does not run until it is
asked."""
import os
import socket
import statistics
import subprocess
import tempfile
import time

from docker_rows import ROOT, SITES, Docker, host_pid, make_home, mean_of_the_middle, pss_kib, tree
from lsapi import ask, body_of
from measure import row

REQUESTS = 3000  # of each kind
IN_USE = 5
FIRST_ANSWERS = 10
IDLE_EXIT = 2
HAND_OVER = 'exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'


def filter_rows(docker, home):
    """Each request a new connection, of a peer that is in the last of one network, and of as many as a list may have."""
    others, everybody = [f'198.51.100.{number}' for number in range(127)], '0.0.0.0/0'
    kinds = {'one': f'CAC_ALLOWED_CLIENTS={everybody}', 'most': f'CAC_ALLOWED_CLIENTS={",".join([*others, everybody])}',
             'open': 'CAC_BACKLOG=511'}
    addresses = {}
    for kind, setting in kinds.items():
        name = f'cac-bench-listener-{kind}'
        docker.create(name, home, False, '--no-healthcheck', '-e', setting, '-e', 'PHP_LSAPI_MAX_REQUESTS=1000000')
        docker('start', name)
        addresses[kind] = (docker('inspect', '--format', '{{.NetworkSettings.IPAddress}}', name), 9000)
    time.sleep(2)
    samples = {kind: [] for kind in kinds}
    for turn in range(REQUESTS):
        for kind, address in list(addresses.items())[::1 if turn % 2 else -1]:
            start = time.perf_counter_ns()
            body_of(address, f'{ROOT}/index.php', ROOT, 5)
            samples[kind].append((time.perf_counter_ns() - start) / 1e3)
    docker.remove()
    one, most, everybody = (mean_of_the_middle(samples[kind]) for kind in kinds)
    row('a request, one network allowed', 'no list', one, everybody, 'µs', 1.1)
    row('a request, 128 networks allowed', 'no list', most, everybody, 'µs')


def memory_rows(docker, home):
    """A socket that systemd holds is a few KiB of the kernel's, so what does not run is not there."""
    def started(first, last):
        names = [f'cac-bench-listener-{number}' for number in range(first, last)]
        for name in names:
            docker.create(name, home, False, '--no-healthcheck')
        for at in range(0, len(names), 20):
            docker('start', *names[at:at + 20])
        time.sleep(5)

    def memory():
        return sum(pss_kib(pid) for name in docker.names for pid in tree(host_pid(docker, name))) / 1024

    started(0, IN_USE)
    in_use = memory()
    started(IN_USE, SITES)
    row(f'{SITES} sites of which {IN_USE} run, memory', f'{SITES} that run', in_use, memory(), 'MiB', 0.1)
    docker.remove()


class Podman:
    """With storage of its own."""

    def __init__(self, folder, docker):
        with open(f'{folder}/containers.conf', 'w') as file:
            file.write('[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
                       '[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]\n')
        self.folder = folder
        self.environment = {**os.environ, 'CONTAINERS_CONF': f'{folder}/containers.conf'}
        self.command = ['podman', '--root', f'{folder}/root', '--runroot', f'{folder}/run']
        save = subprocess.Popen([docker.program, 'save', docker.image], stdout=subprocess.PIPE)
        loaded = subprocess.run([*self.command, 'load', '-q'], stdin=save.stdout, env=self.environment,
                                check=True, capture_output=True, text=True).stdout
        self.image = loaded.strip().rsplit('sha256:')[-1]

    def run(self, home, listener):
        """A site that gets `listener`; without one, what podman takes to run nothing."""
        quiet = {'env': self.environment, 'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
        if listener is None:
            return subprocess.Popen([*self.command, 'run', '--rm', '--network', 'none', '--no-healthcheck',
                                     '--entrypoint', '/bin/true', self.image], **quiet)
        site = ['-e', 'user=alice', '-e', 'uid=61045', '-e', f'CAC_IDLE_EXIT={IDLE_EXIT}', '-v', f'{home}:/home/alice']
        command = [*self.command, 'run', '--rm', '--network', 'none', '--no-healthcheck', *site, self.image]
        return subprocess.Popen(['sh', '-c', HAND_OVER, 'sh', *command], stdin=listener, **quiet)

    def remove(self):
        subprocess.run([*self.command, 'rm', '-fa'], env=self.environment, capture_output=True)
        subprocess.run(['umount', f'{self.folder}/root/overlay'], capture_output=True)


def first_answer_row(podman, home, folder):
    answers, nothing = [], []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f'{folder}/alice.sock')
        listener.listen(511)
        for _ in range(FIRST_ANSWERS):
            start = time.perf_counter()
            podman.run(home, None).wait()
            nothing.append((time.perf_counter() - start) * 1e3)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(60)
                start = time.perf_counter()
                client.connect(f'{folder}/alice.sock')
                site = podman.run(home, listener)
                if ask(client, '/home/alice/public_html/index.php', '/home/alice/public_html') != b'up':
                    raise RuntimeError('the first answer is not the page')
                answers.append((time.perf_counter() - start) * 1e3)
            if site.wait() != 0:
                raise RuntimeError('an idle site did not end with 0')
    row('first answer of a site that did not run', 'podman runs /bin/true', *map(statistics.median, (answers, nothing)), 'ms')


def main():
    docker = Docker(os.environ['CAC_TEST_DOCKER'], os.environ['CAC_TEST_IMAGE'])
    with tempfile.TemporaryDirectory() as folder:
        make_home(f'{folder}/alice', docker)
        podman = Podman(folder, docker)
        try:
            first_answer_row(podman, f'{folder}/alice', folder)
            filter_rows(docker, f'{folder}/alice')
            memory_rows(docker, f'{folder}/alice')
        finally:
            podman.remove()
            docker.remove()


if __name__ == '__main__':
    main()
