"""What a supervised site's pid 1 costs, and how long its stop takes: each beside plain lsphp or what is promised."""
import contextlib
import os
import statistics
import tempfile
import threading
import time

from docker_rows import IDLE_SECONDS, ROOT, Docker, first_answer, host_pid, make_home, pss_kib, wake_ups
from lsapi import body_of
from measure import row

STOPS = 15
IDLE_STOP_MS = 300
PSS_KIB = 2048
REQUEST_S = 2
STOP_TIMEOUT_S = 4  # longer than that
LATE_MS = 500
SLOW = '<?php if (file_exists("/home/alice/slow")) sleep((int) file_get_contents("/home/alice/slow")); echo "up";'
OURS, PLAIN = 'cac-bench-supervised', 'cac-bench-supervised-plain'


def address(docker, name):
    return docker('inspect', '--format', '{{.NetworkSettings.IPAddress}}', name), 9000


def timed_stop(docker, name):
    start = time.perf_counter()
    docker('stop', '--time', '60', name)
    return (time.perf_counter() - start) * 1e3


def idle_stops(docker):
    """The same twice: beside the engine's own part, which plain lsphp shows, and beside what is promised."""
    samples = {OURS: [], PLAIN: []}
    for turn in range(STOPS):
        for name, taken in sorted(samples.items(), reverse=turn % 2 == 1):
            first_answer(docker, name, ROOT if name == OURS else '/home/alice/public_html')
            taken.append(timed_stop(docker, name))
    ours, plain = (statistics.median(samples[name]) for name in (OURS, PLAIN))
    row('docker stop, supervised and idle', 'plain lsphp', ours, plain, 'ms')
    row('docker stop, supervised and idle', 'what is promised', ours, IDLE_STOP_MS, 'ms', 1)


def stop_in_a_request(docker, home, seconds):
    """Milliseconds of a stop that begins half a second into a request; those until it is answered, None: it is not."""
    first_answer(docker, OURS, ROOT)
    write(f'{home}/slow', seconds)
    answered = []

    def ask():
        with contextlib.suppress(OSError):  # it was cut
            if body_of(address(docker, OURS), f'{ROOT}/index.php', ROOT, 60) == b'up':
                answered.append(time.perf_counter())

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    begun = time.perf_counter()
    elapsed = timed_stop(docker, OURS)
    asking.join()
    os.remove(f'{home}/slow')
    return elapsed, (answered[0] - begun) * 1e3 if answered else None


def busy_stops(docker, home):
    stops = [stop_in_a_request(docker, home, REQUEST_S) for _ in range(STOPS // 3)]
    if any(answered is None for _, answered in stops):
        raise RuntimeError(f'a stop cut a request: {docker("logs", OURS)}')
    row('docker stop in a request', 'until its answer', *map(statistics.median, zip(*stops)), 'ms', 1.2)
    stops = [stop_in_a_request(docker, home, 3600) for _ in range(STOPS // 3)]
    if any(answered is not None for _, answered in stops):
        raise RuntimeError('an endless request was answered')
    row('docker stop in an endless request', 'CAC_STOP_TIMEOUT and 0.5 s', max(elapsed for elapsed, _ in stops),
        STOP_TIMEOUT_S * 1e3 + LATE_MS, 'ms', 1)


def idle(docker):
    for name, root in ((OURS, ROOT), (PLAIN, '/home/alice/public_html')):
        first_answer(docker, name, root)
    time.sleep(5)  # after what the first page had to do
    ours, plain = (host_pid(docker, name) for name in (OURS, PLAIN))
    row('pid 1, supervised: memory', 'what is promised', pss_kib(ours), PSS_KIB, 'KiB', 1)
    before = wake_ups(ours), wake_ups(plain)
    time.sleep(IDLE_SECONDS)
    woken = wake_ups(ours) - before[0], wake_ups(plain) - before[1]
    # At least one, so that there is something to divide by.
    row(f'pid 1, supervised: wake-ups in {IDLE_SECONDS} s', "plain lsphp's", woken[0], max(woken[1], 1), '', 0)


def write(path, content):
    with open(path, 'w') as file:
        file.write(str(content))


def main():
    docker = Docker(os.environ['CAC_TEST_DOCKER'], os.environ['CAC_TEST_IMAGE'])
    with tempfile.TemporaryDirectory() as folder:
        home = f'{folder}/alice'
        try:
            make_home(home, docker, SLOW)
            supervised = ['-e', 'CAC_SUPERVISE=1', '-e', f'CAC_STOP_TIMEOUT={STOP_TIMEOUT_S}']
            docker.create(OURS, home, False, '--no-healthcheck', *supervised)
            docker.create(PLAIN, home, True, '--no-healthcheck')
            idle_stops(docker)
            busy_stops(docker, home)
            idle(docker)
        finally:
            docker.remove()


if __name__ == '__main__':
    main()
