#include "title.h"

#include <string.h>

enum { SCRIPT_SHOWN = 45 };

static char *end_of_name; /* the NUL after `lsphp` in argv[0] */

void title_init(int argc, char **argv)
{
	char *slash = strrchr(argv[0], '/');
	size_t whole = strlen(argv[0]), name = slash ? strlen(slash + 1) : whole;
	memmove(argv[0], argv[0] + whole - name, name);
	memset(argv[0] + name, 0, whole - name);
	for (int i = 1; i < argc; i++)
		memset(argv[i], 0, strlen(argv[i]));
	end_of_name = argv[0] + name;
}

/* lsphp does not look whether there is room. When the arguments were shorter than what is written here, the bytes behind
 * them are overwritten, which are the first environment variables: a launcher has to know, so this does the same. */
void title_show(const char *script)
{
	size_t length = strlen(script);
	const char *shown = length > SCRIPT_SHOWN ? script + length - SCRIPT_SHOWN : script;
	*end_of_name = ':';
	memcpy(end_of_name + 1, shown, strlen(shown) + 1);
}

void title_clear(void)
{
	memset(end_of_name, 0, SCRIPT_SHOWN + 1);
}
