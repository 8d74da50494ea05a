/* lsphp's environment variables, read once at start with lsphp's own rules (atoi: junk is 0), then removed. */
#ifndef SETTINGS_H
#define SETTINGS_H

struct settings {
	int children;          /* workers; 1 or less: no parent, this process serves alone */
	int extra_children;    /* on top of children */
	int max_idle_children;
	int max_idle;          /* seconds a worker waits for a request */
	int pgrp_max_idle;     /* seconds without any worker after which the parent leaves; 0: never */
	int max_process_time;  /* seconds a request may take */
	int max_requests;      /* 0: never limited */
	int max_busy_workers;  /* from this many on a worker gives up its connection between requests; 0 or less: never */
	int avoid_fork;        /* a worker waits for its next connection for good, not for a few seconds */
	long min_free_pages;   /* of the host: with less free memory workers do not wait for another connection */
};

struct settings settings_from_environment(void);

#endif
