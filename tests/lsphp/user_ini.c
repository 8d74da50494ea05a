#include "sapi.h"

#include "SAPI.h"
#include "php_ini.h"

/* What the .user.ini files say for one directory. A worker reads them again after user_ini.cache_ttl seconds and then
 * only adds: a setting taken out of a file stays until the worker is replaced. */
struct cached {
	time_t expires;
	HashTable settings;
};

static int enabled;
static HashTable cache; /* directory -> struct cached */

static void forget(zval *entry)
{
	struct cached *c = Z_PTR_P(entry);
	zend_hash_destroy(&c->settings);
	free(c);
}

void user_ini_init(void)
{
	const char *wanted = getenv("LSPHP_ENABLE_USER_INI");
	enabled = wanted && !strcasecmp(wanted, "on");
	zend_hash_init(&cache, 0, NULL, forget, 1);
}

/* The length of `root` without trailing slashes if `directory` is below it, else that of the whole directory: the script
 * lies elsewhere, and only its own directory counts. */
static size_t first_directory(const char *root, const char *directory)
{
	size_t length = root ? strlen(root) : 0;
	while (length > 1 && root[length - 1] == '/')
		length--;
	return length && !strncmp(root, directory, length) ? length : strlen(directory);
}

static void read_files(HashTable *into, char *directory)
{
	size_t at = first_directory(sapi_getenv("DOCUMENT_ROOT", 13), directory);
	for (;;) {
		char kept = directory[at];
		directory[at] = '\0';
		php_parse_user_ini_file(directory, PG(user_ini_filename), into);
		directory[at] = kept;
		if (!kept)
			return;
		at += 1 + strcspn(directory + at + 1, "/");
	}
}

static struct cached *find(const char *directory, size_t length)
{
	struct cached *c = zend_hash_str_find_ptr(&cache, directory, length);
	if (!c) {
		c = pemalloc(sizeof *c, 1);
		c->expires = 0;
		zend_hash_init(&c->settings, 0, NULL, config_zval_dtor, 1);
		zend_hash_str_update_ptr(&cache, directory, length, c);
	}
	return c;
}

void user_ini_activate(void)
{
	if (!enabled || !PG(user_ini_filename) || !*PG(user_ini_filename))
		return;
	char *directory = estrdup(SG(request_info).path_translated);
	size_t length = zend_dirname(directory, strlen(directory));
	struct cached *c = find(directory, length);
	time_t now = (time_t)sapi_get_request_time();
	if (now > c->expires) {
		read_files(&c->settings, directory);
		c->expires = now + PG(user_ini_cache_ttl);
	}
	php_ini_activate_config(&c->settings, PHP_INI_PERDIR, PHP_INI_STAGE_HTACCESS);
	efree(directory);
}
