#include "pool.h"

#include "board.h"
#include "connection.h"
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POLITE_SIGNALS = 5 }; /* SIGTERMs, a second apart, before SIGKILL */

static volatile sig_atomic_t stop;
static sigset_t outside; /* the signal mask while the parent sleeps, and of its workers */
static int children;

static void on_stop(int signal)
{
	(void)signal;
	stop = 1;
}

static void on_child(int signal)
{
	(void)signal; /* only has to interrupt the sleep */
}

/* Our signals are delivered during ppoll only, so that none is missed between a check and the sleep after it. */
static void catch_signals(void)
{
	static const int stopping[] = {SIGTERM, SIGINT, SIGUSR1, SIGQUIT};
	sigset_t ours;
	sigemptyset(&ours);
	sigaddset(&ours, SIGCHLD);
	sigaction(SIGCHLD, &(struct sigaction){.sa_handler = on_child}, NULL);
	for (int i = 0; i < 4; i++) {
		sigaddset(&ours, stopping[i]);
		sigaction(stopping[i], &(struct sigaction){.sa_handler = on_stop}, NULL);
	}
	sigprocmask(SIG_BLOCK, &ours, &outside);
}

static void reap(void)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (WIFSIGNALED(status))
			fprintf(stderr, "[UID:%d][%d] Child process with pid: %d was killed by signal: %d, core dumped: %s\n", getuid(),
			        getpid(), pid, WTERMSIG(status), WCOREDUMP(status) ? "yes" : "no");
		struct slot *slot = board_find(pid);
		if (slot) {
			board_release(slot);
			children--;
		}
	}
}

static int sleep_until(int listener, long milliseconds)
{
	struct pollfd waiting = {.fd = listener, .events = POLLIN};
	struct timespec limit = {milliseconds / 1000, milliseconds % 1000 * 1000000};
	return ppoll(&waiting, listener >= 0, &limit, &outside);
}

static void kill_runaway(struct slot *slot)
{
	int last = slot->told_to_leave > POLITE_SIGNALS;
	fprintf(stderr, "[UID:%d][%d] %s runaway process PID: %d with %s\n", getuid(), getpid(), last ? "Force killing" : "Killing",
	        slot->pid, last ? "SIGKILL" : "SIGTERM");
	kill(slot->pid, last ? SIGKILL : SIGTERM);
	slot->told_to_leave++;
}

/* Once a second: idle workers beyond the allowance are told to leave (they look every second), runaways get a signal. */
static void check_workers(const struct settings *s, time_t now)
{
	int idle = 0;
	for (int i = 0; i < board->size; i++) {
		struct slot *slot = &board->slots[i];
		if (!slot->pid)
			continue;
		if (slot->in_request) {
			if (now - slot->busy_since > s->max_process_time)
				kill_runaway(slot);
			continue;
		}
		int too_long = s->max_idle > 0 && now - slot->idle_since > s->max_idle + 5;
		if (children > s->children || idle > s->max_idle_children || too_long)
			slot->told_to_leave++;
		if (!slot->told_to_leave)
			idle++;
	}
}

static void fork_failed(void)
{
	fprintf(stderr, "[UID:%d][%d] fork() failed, please increase process limit, errno: %d (%s)\n", getuid(), getpid(), errno,
	        strerror(errno));
}

/* 1 in the new worker. */
static int start_worker(int fd)
{
	struct slot *slot = board_take(time(NULL));
	pid_t parent = getpid(), pid = slot ? fork() : -1;
	if (pid == 0) {
		my_slot = slot;
		setsid();
		worker_adopt_signals(&outside);
		worker_of(parent);
		if (geteuid() == 0 || !host_has_memory())
			worker_stop_listening(); /* one connection only */
		connection_open(fd, 1);
		return 1;
	}
	if (pid < 0) {
		fork_failed();
	} else {
		children++;
		slot->pid = pid;
	}
	close(fd);
	return 0;
}

/* At the ceiling nobody accepts: the line is written ten times a second for as long as anything waits. */
static void wait_at_ceiling(const struct settings *s)
{
	fprintf(stderr,
	        "[UID:%d][%d] Reached max children process limit: %d, extra: %d, current: %d, busy: %d, please increase LSAPI_CHILDREN.\n",
	        getuid(), getpid(), s->children, s->extra_children, children, board_connected());
	sleep_until(-1, 100);
}

/* The parent's look around when a new second has begun. 0: time to leave. */
static int look_around(const struct settings *s, pid_t grandparent)
{
	static time_t last;
	static int seconds_empty;
	time_t now = time(NULL);
	if (now == last)
		return 1;
	last = now;
	check_workers(s, now);
	seconds_empty = s->pgrp_max_idle && !children ? seconds_empty + 1 : 0;
	return getppid() == grandparent && seconds_empty <= s->pgrp_max_idle;
}

/* Something waits at the listener. 1 in a new worker, 0 to go on, -1 when the listener is broken. */
static int serve_waiting(const struct settings *s, int listener)
{
	if (children && board_accepting()) {
		usleep(400); /* leave it to the idle worker */
		sched_yield();
		return 0;
	}
	if (children >= s->children + s->extra_children) {
		wait_at_ceiling(s);
		return 0;
	}
	int fd = accept(listener, NULL, NULL);
	if (fd >= 0)
		return start_worker(fd);
	if (errno == EINTR || errno == EAGAIN)
		return 0;
	perror("lsphp: accept failed");
	return -1;
}

int pool_run(const struct settings *s, int listener)
{
	pid_t grandparent = getppid();
	int served = 0;

	setpgid(0, 0);
	if (board_create(s->children + s->extra_children)) {
		perror("lsphp: mmap of the shared board failed");
		return 0;
	}
	catch_signals();
	while (!stop && !served && look_around(s, grandparent)) {
		int waiting = sleep_until(listener, 1000) == 1;
		reap();
		if (waiting && !stop)
			served = serve_waiting(s, listener);
	}
	return served == 1;
}
