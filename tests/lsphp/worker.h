/* A process that serves: a worker forked by the parent, or the only process when there is no parent. */
#ifndef WORKER_H
#define WORKER_H

#include "settings.h"

#include <signal.h>
#include <sys/types.h>

void worker_init(const struct settings *settings, int listener);
/* Waits for the next request. 1: it is read; 0: time to leave. */
int worker_next_request(void);

/* SIGUSR1 arrived: lsphp then writes nothing any more, and the answer it was at is lost. */
int worker_stopping(void);

/* In a worker just forked. */
void worker_adopt_signals(const sigset_t *mask);
void worker_of(pid_t parent);
void worker_stop_listening(void);

/* Whether the host (not the container) has the free memory lsphp wants before a worker waits for another connection. */
int host_has_memory(void);

#endif
