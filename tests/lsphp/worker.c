#include "worker.h"

#include "board.h"
#include "connection.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct settings *settings;
static int listener = -1;
static pid_t parent; /* 0: not watched */
static int requests_done;
static volatile sig_atomic_t stop;

static void on_user_signal(int signal)
{
	(void)signal;
	stop = 1;
}

void worker_init(const struct settings *s, int listening)
{
	settings = s;
	listener = listening;
	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_user_signal}, NULL);
}

void worker_adopt_signals(const sigset_t *mask)
{
	static const int usual[] = {SIGCHLD, SIGTERM, SIGQUIT, SIGINT};
	for (int i = 0; i < 4; i++)
		sigaction(usual[i], &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_user_signal}, NULL);
	sigprocmask(SIG_SETMASK, mask, NULL);
}

void worker_of(pid_t pid)
{
	parent = pid;
}

void worker_stop_listening(void)
{
	close(listener);
	listener = -1;
}

int host_has_memory(void)
{
	long available = sysconf(_SC_AVPHYS_PAGES);
	return available > settings->min_free_pages || available * 10 / sysconf(_SC_PHYS_PAGES) > 0;
}

int worker_stopping(void)
{
	return stop;
}

static int told_to_leave(void)
{
	return stop || (my_slot && requests_done && my_slot->told_to_leave);
}

/* A worker without a connection does not wait for long: the more others wait too, the shorter. */
static int waited_enough_for_connection(int seconds)
{
	if (!my_slot)
		return 0;
	if (!host_has_memory())
		return 1;
	return !settings->avoid_fork && seconds >= (10 + 10 * board_connected()) >> board_accepting();
}

/* Waits until the connection, or else the listener, has something. 0: time to leave. */
static int wait_for_input(void)
{
	int accepting = connection_fd < 0;
	struct pollfd input = {.fd = accepting ? listener : connection_fd, .events = POLLIN};
	for (int seconds = 0;;) {
		if (told_to_leave())
			return 0;
		if (accepting)
			worker_accepting(1);
		int ready = poll(&input, 1, 1000);
		if (accepting)
			worker_accepting(0);
		if (ready > 0)
			return !told_to_leave();
		if (ready < 0 && errno != EINTR)
			return 0;
		if (ready < 0)
			continue;
		if (my_slot)
			my_slot->in_request = 0;
		if (accepting && waited_enough_for_connection(seconds))
			return 0;
		if (++seconds >= settings->max_idle && settings->max_idle > 0)
			return 0;
		if (parent && getppid() != parent)
			return 0;
	}
}

static void accept_connection(void)
{
	int fd = accept(listener, NULL, NULL);
	if (fd >= 0) /* else another worker was faster */
		connection_open(fd, 0);
}

static int begin_request(void)
{
	if (connection_read_request()) {
		connection_close();
		return 0;
	}
	requests_done++;
	if (my_slot) {
		my_slot->told_to_leave = 0;
		my_slot->busy_since = time(NULL);
		my_slot->in_request = 1;
	}
	return 1;
}

int worker_next_request(void)
{
	if (my_slot && requests_done && settings->max_busy_workers > 0 && connection_fd >= 0 &&
	    board_connected() >= settings->max_busy_workers)
		connection_give_up();
	if (settings->max_requests && requests_done >= settings->max_requests)
		return 0;
	if (my_slot)
		my_slot->idle_since = time(NULL);
	while (connection_fd >= 0 || listener >= 0) {
		if (!wait_for_input())
			return 0;
		if (connection_fd < 0)
			accept_connection();
		else if (begin_request())
			return 1;
	}
	return 0;
}
