#include "settings.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

extern char **environ;

enum { MAX_CHILDREN = 10000, GIB_IN_PAGES = 256 * 1024 };

/* The number in the first of two variables that exists, else `otherwise`. */
static int number(const char *name, const char *second, int otherwise)
{
	const char *text = getenv(name);
	if (!text && second)
		text = getenv(second);
	return text ? atoi(text) : otherwise;
}

static int positive(int value, int otherwise)
{
	return value > 0 ? value : otherwise;
}

/* LSAPI_AVOID_FORK keeps workers instead of extra ones, and its size is the free memory wanted. The size is computed in 32
 * bits as lsphp does: 2G comes out negative and is then ignored, 4G comes out as 0 and allows extra workers again. */
static unsigned avoid_fork(struct settings *s)
{
	const char *text = getenv("LSAPI_AVOID_FORK");
	unsigned bytes = text ? (unsigned)atoi(text) : 0;
	s->avoid_fork = bytes != 0;
	if (!bytes)
		return 0;
	char unit = text[strlen(text) - 1];
	if (unit == 'G' || unit == 'g')
		bytes *= 1024u * 1024 * 1024;
	else if (unit == 'M' || unit == 'm')
		bytes *= 1024u * 1024;
	if ((int)bytes >= 10 * 1024 * 1024)
		s->min_free_pages = (int)bytes / 4096;
	return bytes;
}

static void remove_own_variables(void)
{
	char **kept = environ;
	for (char **entry = environ; *entry; entry++)
		if (strncmp(*entry, "LSAPI_", 6) && strncmp(*entry, "PHP_LSAPI_", 10))
			*kept++ = *entry;
	*kept = NULL;
}

struct settings settings_from_environment(void)
{
	struct settings s = {.min_free_pages = GIB_IN_PAGES};
	int no_extra = avoid_fork(&s) != 0;

	s.children = number("PHP_LSAPI_CHILDREN", "LSAPI_CHILDREN", 0);
	if (s.children > MAX_CHILDREN)
		s.children = MAX_CHILDREN;
	s.extra_children = no_extra ? 0 : s.children / 3;
	int extra = number("LSAPI_EXTRA_CHILDREN", NULL, -1);
	if (extra >= 0)
		s.extra_children = extra;
	s.max_idle_children = positive(no_extra ? s.children + 1 : s.children / 3, 1);
	s.max_idle_children = positive(number("LSAPI_MAX_IDLE_CHILDREN", NULL, 0), s.max_idle_children);
	s.max_idle = number("LSAPI_MAX_IDLE", NULL, 300);
	s.pgrp_max_idle = number("LSAPI_PGRP_MAX_IDLE", NULL, 0);
	s.max_process_time = positive(number("LSAPI_MAX_PROCESS_TIME", NULL, 0), 3600);
	s.max_requests = positive(number("PHP_LSAPI_MAX_REQUESTS", "LSAPI_MAX_REQS", 0), 0);
	s.max_busy_workers = number("LSAPI_MAX_BUSY_WORKER", NULL, 0);

	if (!getenv("LSAPI_ALLOW_CORE_DUMP"))
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	remove_own_variables();
	return s;
}
