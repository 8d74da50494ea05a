/* What the parent and its workers know of each other: one page of shared memory. A process without a parent has no board,
 * and every call here then does nothing. */
#ifndef BOARD_H
#define BOARD_H

#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

enum worker_state { WORKER_IDLE, WORKER_CONNECTED, WORKER_ACCEPTING };

struct slot {
	pid_t pid;                 /* 0: free; written by the parent only */
	atomic_int state;          /* enum worker_state; lets the parent correct the counters when a worker dies */
	atomic_int in_request;     /* stays 1 until the worker was idle for a second */
	atomic_int told_to_leave;  /* how often the parent asked */
	_Atomic time_t idle_since, busy_since;
};

struct board {
	atomic_int connected, accepting;
	int size;
	struct slot slots[];
};

extern struct board *board;
extern struct slot *my_slot; /* NULL in the parent and in a process that serves alone */

int board_create(int size);
struct slot *board_find(pid_t pid);
/* A clean slot for a worker about to be forked, NULL if all are taken. */
struct slot *board_take(time_t now);

void worker_connected(void);
void worker_disconnected(void);
void worker_accepting(int yes);
int board_connected(void);
int board_accepting(void);

/* The parent's part: a worker is gone, whatever it was doing. */
void board_release(struct slot *slot);

#endif
