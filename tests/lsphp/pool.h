/* The parent: forks one worker for each connection that no idle worker takes. */
#ifndef POOL_H
#define POOL_H

#include "settings.h"

/* Returns 1 in a worker just forked, whose connection is open; 0 in the parent when it has to leave. */
int pool_run(const struct settings *settings, int listener);

#endif
