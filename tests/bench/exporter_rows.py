"""One scrape of many sites: 500 of them made with unshare, 20 with a busy worker and 20 with one that a front end keeps
connected, beside sockets of others; as root, and with the two capabilities of the systemd unit and the DaemonSet.

The numbers come down with the arguments where a machine cannot carry them, and the rows say what was measured:
exporter_rows.py [SITES [BUSY [SOCKETS]]]. It needs root, and a container engine for the last row only.
"""
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

from measure import row

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
LSPHP = f'{REPOSITORY}/target/lsphp/8.2/lsphp'
BINARY, EXPORTER = os.environ['CAC_TEST_BINARY'], os.environ['CAC_TEST_EXPORTER']
SCRAPES = 20

# A site as a container runtime would make it; nothing of the machine's is changed.
START = '''
mount --bind /etc /etc && mount -o remount,ro,bind /etc
for place in /run /home /mnt; do mount -t tmpfs tmpfs $place; done
install -m 755 "$LSPHP" /mnt/lsphp
echo '<?php sleep(600);' >/mnt/sleep.php
ip link set lo up
case $VISITOR in
    busy) (until "$BINARY" request --timeout 60m --addr 127.0.0.1:9000 /mnt/sleep.php; do sleep 1; done) >/dev/null 2>&1 & ;;
    kept) (while sleep 1; do cat 0<>/dev/tcp/127.0.0.1/9000; done) >/dev/null 2>&1 & ;;
esac
exec env -i user="$SITE_USER" uid="$SITE_UID" CAC_LSPHP=/mnt/lsphp CAC_SITE_LINK=0 CAC_MEMORY_MB=512 "$BINARY" run
'''


def site(number, visitor):
    env = {**os.environ, 'SITE_USER': f'bench{number}', 'SITE_UID': str(64000 + number), 'LSPHP': LSPHP,
           'BINARY': BINARY, 'VISITOR': visitor}
    command = ['unshare', '--mount', '--pid', '--net', '--fork', '--mount-proc', 'bash', '-ec', START]
    return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end(process):
    """The first process of the namespace takes all others along."""
    children = f'/proc/{process.pid}/task/{process.pid}/children'
    for child in open(children).read().split():
        os.kill(int(child), signal.SIGKILL)
    process.wait()


def hold_sockets(count):
    """Processes that hold so many connected sockets between them, and how many they got."""
    each, holders, held = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200, [], 0
    while held < count:
        ready, tell = os.pipe()
        wanted = min(each, count - held)
        if pid := os.fork():
            os.close(tell)
            got = int(os.read(ready, 20) or b'0')
            holders.append(pid)
            held += got
            if got < wanted:
                break
            continue
        hold(wanted, len(holders), tell)
    return holders, held


def hold(count, number, tell):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ends, listeners = [], []
    try:
        while len(ends) < count:
            if len(ends) % 40_000 == 0:  # a port of a client's can be used once for each address
                listener = socket.socket()
                listener.bind((f'127.{number + 1}.{len(ends) // 40_000}.1', 0))
                listener.listen(100)
                listeners.append(listener)
            client = socket.socket()
            client.connect(listener.getsockname())
            ends += [client, listener.accept()[0]]
    except OSError as error:
        print(f'{len(ends)} sockets in one process: {error}', file=sys.stderr)
    os.write(tell, str(len(ends)).encode())
    while True:
        signal.pause()


CAPABILITIES = '-all,+sys_ptrace,+dac_read_search'
AS_NOBODY = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--no-new-privs', '--inh-caps', CAPABILITIES,
             '--ambient-caps', CAPABILITIES, '--bounding-set', CAPABILITIES, '--']


class Exporter:
    def __init__(self, prefix):
        command = [*prefix, EXPORTER, '--listen', '127.0.0.1:0']
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.url = 'http://' + self.process.stderr.readline().split('http://')[1].strip()

    def scrape(self):
        with urllib.request.urlopen(self.url) as answer:
            return answer.read().decode()

    def cpu(self):
        fields = open(f'/proc/{self.process.pid}/stat').read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf('SC_CLK_TCK')

    def peak(self):
        status = open(f'/proc/{self.process.pid}/status').read()
        return int(status.split('VmHWM:')[1].split()[0]) / 1024

    def end(self):
        self.process.terminate()
        self.process.wait()


def value(text, name):
    return sum(float(line.rsplit(' ', 1)[1]) for line in text.splitlines() if line.startswith(name + '{') and '"bench' in line)


def measure(exporter, sites):
    """CPU time of a scrape in ms, each more than a second after the last so that it is a look of its own."""
    before = exporter.cpu()
    for _ in range(SCRAPES):
        time.sleep(1.1)
        text = exporter.scrape()
    if value(text, 'phpfpm_up') != sites:
        raise RuntimeError(f'{value(text, "phpfpm_up")} of {sites} sites are up')
    return (exporter.cpu() - before) / SCRAPES


def docker_exec_ms():
    """Wall time of one `docker exec … cac-lsphp status`, the median of 20."""
    docker, name = os.environ['CAC_TEST_DOCKER'], f'cac-bench-exporter-{os.getpid()}'
    site = ['-e', 'user=alice', '-e', 'uid=61045', '--memory', '512m', os.environ['CAC_TEST_IMAGE']]
    subprocess.run([docker, 'run', '-d', '--name', name, *site], check=True, stdout=subprocess.DEVNULL)
    try:
        status = [docker, 'exec', name, 'cac-lsphp', 'status']
        while subprocess.run(status, capture_output=True).returncode != 0:
            time.sleep(0.2)
        times = []
        for _ in range(20):
            start = time.monotonic()
            subprocess.run(status, check=True, capture_output=True)
            times.append((time.monotonic() - start) * 1000)
        return statistics.median(times)
    finally:
        subprocess.run([docker, 'rm', '-f', name], capture_output=True)


def visitor_of(number, busy):
    """So many sites with a busy worker, as many with one that only holds a connection, and the rest idle."""
    return 'busy' if number < busy else 'kept' if number < 2 * busy else 'none'


def wait_until_up(exporter, sites, busy):
    deadline = time.monotonic() + 300
    while True:
        time.sleep(1.1)
        text = exporter.scrape()
        seen = [value(text, name) for name in ('phpfpm_up', 'lsphp_workers_busy', 'lsphp_workers_connected')]
        # lsphp gives up a connection on which nothing comes, and is connected to again.
        if seen[:2] == [sites, busy] and seen[2] >= min(busy, sites - busy) / 2:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f'up, busy and connected are {seen}, with {sites} sites of which {busy} should be busy')


def wall_ms(exporter):
    time.sleep(1.1)  # what is younger than a second is given out again
    start = time.monotonic()
    exporter.scrape()
    return (time.monotonic() - start) * 1000


def main():
    sites, busy, sockets = (int(argument) for argument in (sys.argv[1:] + ['500', '20', '500000'][len(sys.argv) - 1:]))
    running, holders, exporters = [], [], {}
    try:
        for number in range(sites):
            running.append(site(number, visitor_of(number, busy)))
            if number % 20 == 19:
                time.sleep(0.5)
        exporters = {'as root': Exporter([]), 'with two capabilities': Exporter(AS_NOBODY)}
        for exporter in exporters.values():
            wait_until_up(exporter, sites, busy)
        for who, exporter in exporters.items():
            row(f'{sites} sites {who}, CPU of a scrape', 'the promise', measure(exporter, sites), 300 * sites / 500, 'ms', 1)
        holders, held = hold_sockets(sockets)
        for who, exporter in exporters.items():
            name = f'the same {who} beside {held} sockets'
            row(name, 'the promise', measure(exporter, sites), 300 * sites / 500, 'ms', 1)
            row(f'memory {who} after {sites} sites', 'the promise', exporter.peak(), 30, 'MiB', 1)
        wall = wall_ms(exporters['as root'])
        row(f'a scrape of {sites} sites, wall', f'{sites} docker exec, from 20', wall, docker_exec_ms() * sites, 'ms', 0.1)
    finally:
        for exporter in exporters.values():
            exporter.end()
        for pid in holders:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for process in running:
            end(process)


if __name__ == '__main__':
    main()
