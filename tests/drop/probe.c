// Stands in lsphp's place and reports, as JSON in the file that $PROBE_REPORT names, what it really is.
// It asks the kernel and nobody else. C, because Rust's runtime touches signals and descriptors before main.
//
// Called with "gain" (as a setuid, setgid or file-capability program) it says what that gained.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void json_string(FILE *out, const char *text) {
    fputc('"', out);
    for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++) {
        if (*byte < 0x20 || *byte > 0x7e || *byte == '"' || *byte == '\\')
            fprintf(out, "\\u%04x", *byte);
        else
            fputc(*byte, out);
    }
    fputc('"', out);
}

// The words after `name` in this process's status, as a list. By a way that no test hides.
static void status_line(FILE *out, const char *name) {
    char line[4096];
    FILE *status = fopen("/proc/thread-self/status", "re");
    size_t length = strlen(name);
    fprintf(out, "  \"%s\": [", name);
    while (status && fgets(line, sizeof line, status)) {
        if (strncmp(line, name, length) != 0 || line[length] != ':')
            continue;
        const char *separator = "";
        for (char *word = strtok(line + length + 1, " \t\n"); word; word = strtok(NULL, " \t\n")) {
            fputs(separator, out);
            json_string(out, word);
            separator = ", ";
        }
    }
    fprintf(out, "],\n");
    if (status)
        fclose(status);
}

static void strings(FILE *out, const char *name, char **list) {
    fprintf(out, "  \"%s\": [", name);
    for (char **text = list; *text; text++) {
        if (text != list)
            fputs(", ", out);
        json_string(out, *text);
    }
    fprintf(out, "],\n");
}

// What is open, before this program opens anything.
static void list_descriptors(char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (int number = 0; number < 4096; number++) {
        char link[64], target[PATH_MAX];
        if (fcntl(number, F_GETFD) < 0)
            continue;
        snprintf(link, sizeof link, "/proc/self/fd/%d", number);
        ssize_t length = readlink(link, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = 0;
        used += (size_t)snprintf(text + used, used < size ? size - used : 0, "%s\"%d\": \"%s\"", used ? ", " : "", number, target);
        if (used >= size)
            abort();
    }
}

// Runs a program that has more than we have on disk, and passes on what it says.
static void gain(FILE *out, const char *name, const char *path) {
    char answer[256] = "";
    int ends[2];
    if (pipe(ends) != 0)
        abort();
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 1);
        execl(path, path, "gain", NULL);
        dprintf(1, "%s", "\"not executed\"");
        _exit(0);
    }
    close(ends[1]);
    if (read(ends[0], answer, sizeof answer - 1) < 0)
        abort();
    close(ends[0]);
    waitpid(child, NULL, 0);
    fprintf(out, "  \"%s\": %s,\n", name, answer[0] ? answer : "null");
}

static int say_gain(void) {
    char line[4096], capabilities[64] = "";
    FILE *status = fopen("/proc/thread-self/status", "re");
    while (status && fgets(line, sizeof line, status))
        sscanf(line, "CapEff: %63s", capabilities);
    printf("{\"euid\": %u, \"egid\": %u, \"CapEff\": \"%s\"}", geteuid(), getegid(), capabilities);
    return 0;
}

int main(int argc, char **argv) {
    static char open_at_start[65536];
    if (argc > 1 && strcmp(argv[1], "gain") == 0)
        return say_gain();
    list_descriptors(open_at_start, sizeof open_at_start);

    const char *path = getenv("PROBE_REPORT");
    FILE *out = path ? fopen(path, "wxe") : NULL;
    if (!out)
        return 98;
    static const char *lines[] = {"Umask", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd",
                                  "CapAmb", "NoNewPrivs", "SigBlk", "SigIgn", "SigCgt", "ShdPnd", "SigPnd"};
    fprintf(out, "{\n");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        status_line(out, lines[i]);
    fprintf(out, "  \"descriptors\": {%s},\n", open_at_start);
    strings(out, "argv", argv);
    strings(out, "environment", environ);
    gain(out, "setuid", "/test/setuid-root");
    gain(out, "setgid", "/test/setgid-root");
    gain(out, "file_capability", "/test/file-capability");

    char directory[PATH_MAX] = "";
    struct rlimit memory;
    if (!getcwd(directory, sizeof directory) || getrlimit(RLIMIT_AS, &memory) != 0)
        return 97;
    fprintf(out, "  \"cwd\": ");
    json_string(out, directory);
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    fprintf(out, ",\n  \"terminal\": %s,\n", terminal >= 0 ? "true" : "false");
    fprintf(out, "  \"RLIMIT_AS\": [%lld, %lld],\n", (long long)memory.rlim_cur, (long long)memory.rlim_max);
    fprintf(out, "  \"securebits\": %d,\n  \"keepcaps\": %d,\n", prctl(PR_GET_SECUREBITS), prctl(PR_GET_KEEPCAPS));
    fprintf(out, "  \"pid\": %d\n}\n", getpid());
    return fclose(out) == 0 ? 0 : 96;
}
