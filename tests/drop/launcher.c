// Puts itself into the state that its arguments name, then executes what follows "--".
// Whatever it cannot do ends it with 99: a test must not pass for want of its worst state.
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/securebits.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static void must(int holds, const char *what) {
    if (!holds) {
        perror(what);
        exit(99);
    }
}

static void groups(void) {
    gid_t list[] = {0, 4, 27, 42, 1000, 65534};
    must(setgroups(sizeof list / sizeof *list, list) == 0, "setgroups");
}

// Everything permitted becomes inheritable, and with `ambient` survives a change of uid and an exec.
static void inherit_capabilities(int ambient) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    must(syscall(SYS_capget, &header, data) == 0, "capget");
    for (int half = 0; half < 2; half++)
        data[half].inheritable = data[half].effective = data[half].permitted;
    must(syscall(SYS_capset, &header, data) == 0, "capset");
    must(data[0].permitted != 0, "having a capability");
    for (int number = 0; ambient && number < 64; number++)
        if (data[number / 32].permitted >> number % 32 & 1)
            must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) == 0, "PR_CAP_AMBIENT_RAISE");
}

static void signals(void) {
    struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; } ignore = {.handler = (void *)1};
    uint64_t all = ~0ull;
    // By system call: glibc keeps 32 and 33 for itself.
    for (int number = 1; number <= 64; number++)
        if (number != 9 && number != 19)
            must(syscall(SYS_rt_sigaction, number, &ignore, NULL, sizeof all) == 0, "rt_sigaction");
    must(syscall(SYS_rt_sigprocmask, 0, &all, NULL, sizeof all) == 0, "rt_sigprocmask");
}

static void descriptors(void) {
    for (int count = 0; count < 50; count++)
        must(open("/etc/passwd", O_RDONLY) >= 0, "opening /etc/passwd");
    must(dup2(3, 1000) == 1000, "dup2");
}

// Answers the system call `number` without doing it: with 0, as if it had been done, or an error.
// `argument` is the first argument to match, or -1 for any.
static void filter(uint32_t number, int64_t argument, uint32_t error) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | (argument < 0 ? BPF_JGE : BPF_JEQ) | BPF_K, argument < 0 ? 0 : (uint32_t)argument, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog all = {.len = sizeof program / sizeof *program, .filter = program};
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all) == 0, "PR_SET_SECCOMP");
}

// CAP_NET_RAW, permitted and effective, for whoever executes `path`.
static void give_file_capability(const char *path) {
    struct vfs_cap_data raw = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
                               .data[0].permitted = 1u << CAP_NET_RAW};
    must(setxattr(path, "security.capability", &raw, sizeof raw, 0) == 0, "giving a file a capability");
}

// The ids change and the capabilities stay, as with setpriv --ambient-caps.
static void become(const char *ids) {
    unsigned uid, gid;
    must(sscanf(ids, "%u:%u", &uid, &gid) == 2, "become=UID:GID");
    must(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) == 0, "PR_SET_SECUREBITS");
    must(setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0, "setresuid");
}

static void set(const char *word) {
    unsigned number, error;
    int argument;
    rlim_t mib;
    if (strcmp(word, "groups") == 0)
        groups();
    else if (strcmp(word, "no-groups") == 0)
        must(setgroups(0, NULL) == 0, "setgroups");
    else if (strcmp(word, "inheritable") == 0)
        inherit_capabilities(0);
    else if (strcmp(word, "ambient") == 0)
        inherit_capabilities(1);
    else if (strcmp(word, "securebits") == 0)
        must(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS) == 0, "PR_SET_SECUREBITS");
    else if (strcmp(word, "noroot") == 0)
        must(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED) == 0, "PR_SET_SECUREBITS");
    else if (strcmp(word, "signals") == 0)
        signals();
    else if (strcmp(word, "descriptors") == 0)
        descriptors();
    else if (strcmp(word, "umask") == 0)
        umask(0);
    else if (strcmp(word, "umask-all") == 0)
        umask(0777);
    else if (strcmp(word, "closed") == 0)
        must(close(0) == 0 && close(1) == 0 && close(2) == 0, "close");
    else if (strcmp(word, "terminal") == 0)
        must(open("/dev/tty", O_RDWR | O_CLOEXEC) >= 0, "opening the controlling terminal");
    else if (strcmp(word, "no-status") == 0)
        must(mount("/dev/null", "/proc/self/status", NULL, MS_BIND, NULL) == 0, "hiding /proc/self/status");
    else if (strncmp(word, "status=", 7) == 0)
        must(mount(word + 7, "/proc/self/status", NULL, MS_BIND, NULL) == 0, "replacing /proc/self/status");
    else if (strncmp(word, "become=", 7) == 0)
        become(word + 7);
    else if (strncmp(word, "file-capability=", 16) == 0)
        give_file_capability(word + 16);
    else if (strcmp(word, "real-root") == 0)
        must(setresuid(0, 61045, 0) == 0, "setresuid");
    else if (sscanf(word, "address-space=%lu", &mib) == 1)
        must(setrlimit(RLIMIT_AS, &(struct rlimit){mib << 20, mib << 20}) == 0, "RLIMIT_AS");
    else if (sscanf(word, "filter=%u,%d,%u", &number, &argument, &error) == 3)
        filter(number, argument, error);
    else
        must(0, word);
}

int main(int argc, char **argv) {
    char pid[32];
    int word = 1;
    snprintf(pid, sizeof pid, "%d", getpid());
    setenv("LAUNCHER_PID", pid, 1);
    for (; word < argc && strcmp(argv[word], "--") != 0; word++)
        set(argv[word]);
    must(word + 1 < argc, "-- COMMAND");
    execv(argv[word + 1], argv + word + 1);
    must(0, argv[word + 1]);
}
