#include "cli.h"

#include "sapi.h"

#include "SAPI.h"
#include "ext/standard/info.h"
#include "php_main.h"
#include "php_variables.h"

#include <unistd.h>

static void print_version(void)
{
	php_printf("PHP %s (%s) (built: %s %s)\nCopyright (c) The PHP Group\n%s", PHP_VERSION, sapi_module.name, __DATE__,
	           __TIME__, get_zend_version());
}

static void run_file(const char *path)
{
	zend_file_handle script;
	zend_stream_init_filename(&script, path);
	script.primary_script = 1;
	php_execute_script(&script);
	zend_destroy_file_handle(&script);
}

static size_t write_stdout(const char *text, size_t length)
{
	return fwrite(text, 1, length, stdout);
}

static void flush_stdout(void *context)
{
	fflush(stdout);
}

static int send_no_headers(sapi_headers_struct *headers)
{
	return SAPI_HEADER_SENT_SUCCESSFULLY;
}

static void import_environment(zval *array)
{
	php_import_environment_variables(array);
}

void cli_prepare(void)
{
	lsphp_sapi.phpinfo_as_text = 1;
	lsphp_sapi.ub_write = write_stdout;
	lsphp_sapi.flush = flush_stdout;
	lsphp_sapi.send_headers = send_no_headers;
	lsphp_sapi.register_server_variables = import_environment;
}

static void set_ini_defaults(void)
{
	static const char *const ini[][2] = {{"display_errors", "1"}, {"html_errors", "0"}, {"register_argc_argv", "1"},
	                                     {"implicit_flush", "1"}, {"max_execution_time", "0"}};
	for (size_t i = 0; i < sizeof ini / sizeof *ini; i++) {
		zend_string *name = zend_string_init(ini[i][0], strlen(ini[i][0]), 1);
		zend_alter_ini_entry_chars(name, ini[i][1], strlen(ini[i][1]), PHP_INI_SYSTEM, PHP_INI_STAGE_ACTIVATE);
		zend_string_release_ex(name, 1);
	}
	SG(options) |= SAPI_OPTION_NO_CHDIR;
}

static void describe_script(char **script)
{
	SG(request_info).path_translated = estrdup(script[0]);
	SG(request_info).argv = script;
	while (script[SG(request_info).argc])
		SG(request_info).argc++;
}

int cli_run(enum cli_task task, char **script)
{
	volatile int status = 255; /* survives the longjmp of a script that exits */

	if (task == CLI_SCRIPT && access(script[0], R_OK)) {
		printf("Could not open input file: %s.\n", script[0]);
		return status;
	}
	zend_first_try
	{
		set_ini_defaults();
		if (task == CLI_SCRIPT)
			describe_script(script);
		if (php_request_startup() == SUCCESS) {
			if (task == CLI_VERSION)
				print_version();
			else if (task == CLI_INFO)
				php_print_info(PHP_INFO_ALL);
			else
				run_file(script[0]);
			status = EG(exit_status);
			php_request_shutdown(NULL);
		}
	}
	zend_end_try();
	php_module_shutdown();
	return status;
}
