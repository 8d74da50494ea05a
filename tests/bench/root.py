"""A container root without a container engine: tmpfs for what a start writes, the machine's /usr below it."""
import fcntl
import os
import shutil
import socket
import struct
import subprocess

UID = 61045
CGROUP = 'cac-lsphp-bench'
MEMORY = 4 << 30  # bytes: a limit, but none that what is measured comes near


def mount(*arguments):
    subprocess.run(['mount', *arguments], check=True)


def bind(source, target, *options):
    os.makedirs(target, exist_ok=True)
    mount('--rbind', source, target)
    if options:
        mount('-o', ','.join(('remount', 'bind', *options)), target)


def join_cgroups():
    """A cgroup with limits for this process and its children: [(its directory, where a container has it)]."""
    top = '/sys/fs/cgroup'
    if os.path.exists(f'{top}/cgroup.controllers'):
        write(f'{top}/cgroup.subtree_control', '+memory +pids')
        joined, limits = [(f'{top}/{CGROUP}', top)], ['memory.max', 'pids.max']
    else:
        mounts = [f'{top}/{controller}' for controller in ('memory', 'pids')]
        if not all(map(os.path.ismount, mounts)):
            raise RuntimeError(f'{" and ".join(mounts)}: not mounted; the bench needs cgroup v2, or these of v1')
        joined = [(f'{mount}/{CGROUP}', mount) for mount in mounts]
        limits = ['memory.limit_in_bytes', 'pids.max']
    for directory, _ in joined:
        os.makedirs(directory, exist_ok=True)
        for limit, value in zip(limits, (MEMORY, 4096)):
            if os.path.exists(f'{directory}/{limit}'):
                write(f'{directory}/{limit}', value)
        write(f'{directory}/cgroup.procs', 0)
    return joined


def write(path, value):
    with open(path, 'w') as file:
        file.write(str(value))


def enter(root, repository):
    """Makes the root and changes into it for good. Needs a mount and a network namespace of its own.

    As in Docker's containers, the own cgroup is the top of what is mounted.
    """
    mount('--make-rprivate', '/')
    mount('-t', 'tmpfs', '-o', 'mode=755', 'none', root)
    for name in ('home', 'mnt', 'run', 'tmp', 'etc', 'dev', 'proc'):
        os.mkdir(f'{root}/{name}')
    os.chmod(f'{root}/tmp', 0o1777)  # opcache's lock file
    for name in ('bin', 'sbin', 'lib', 'lib64'):
        os.symlink(f'usr/{name}', f'{root}/{name}')
    shutil.copy2('/etc/ld.so.cache', f'{root}/etc')
    for name in ('passwd', 'group'):  # not the machine's own: a start reads each line
        shutil.copyfile(f'/usr/share/base-passwd/{name}.master', f'{root}/etc/{name}')
    bind('/usr', f'{root}/usr', 'ro')
    for name in ('php', 'alternatives'):
        bind(f'/etc/{name}', f'{root}/etc/{name}')
    bind(repository, f'{root}/repository')
    bind('/dev', f'{root}/dev')
    for directory, point in join_cgroups():
        bind(directory, root + point, 'ro')
    mount('-t', 'proc', 'proc', f'{root}/proc')
    os.chroot(root)
    os.chdir('/')
    loopback_up()


def loopback_up():
    SIOCSIFFLAGS, IFF_UP = 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack('16sh22x', b'lo', IFF_UP))


def site(name='alice', files=()):
    """A home with a page and further empty files, spread over folders of a thousand."""
    home = f'/home/{name}'
    os.makedirs(f'{home}/public_html', exist_ok=True)
    for number in files:
        folder = f'{home}/public_html/{number // 1000}'
        if number % 1000 == 0:
            os.makedirs(folder, exist_ok=True)
        os.close(os.open(f'{folder}/{number}', os.O_CREAT | os.O_WRONLY))
    with open(f'{home}/public_html/bench.php', 'w') as page:
        page.write('<?php\n')
    os.utime(f'{home}/public_html/bench.php', (1e9, 1e9))  # opcache takes no file younger than 2 s
    return home
