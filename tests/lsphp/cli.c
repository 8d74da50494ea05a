#include "cli.h"

#include "sapi.h"

#include "SAPI.h"
#include "ext/standard/info.h"
#include "php_main.h"
#include "php_variables.h"

static void print_version(void)
{
	php_printf("PHP %s (%s) (built: %s %s)\nCopyright (c) The PHP Group\n%s", PHP_VERSION, sapi_module.name, __DATE__,
	           __TIME__, get_zend_version());
}

static void run_file(char **arguments)
{
	zend_file_handle script;
	zend_stream_init_filename(&script, arguments[0]);
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

int cli_run(enum cli_task task, char **script)
{
	static const char *const ini[][2] = {{"display_errors", "1"}, {"html_errors", "0"}, {"register_argc_argv", "1"},
	                                     {"implicit_flush", "1"}, {"max_execution_time", "0"}};
	volatile int status = 1; /* survives the longjmp of a script that exits */
	zend_first_try
	{
		for (size_t i = 0; i < sizeof ini / sizeof *ini; i++) {
			zend_string *name = zend_string_init(ini[i][0], strlen(ini[i][0]), 1);
			zend_alter_ini_entry_chars(name, ini[i][1], strlen(ini[i][1]), PHP_INI_SYSTEM, PHP_INI_STAGE_ACTIVATE);
			zend_string_release_ex(name, 1);
		}
		SG(options) |= SAPI_OPTION_NO_CHDIR;
		if (task == CLI_SCRIPT) {
			SG(request_info).path_translated = estrdup(script[0]);
			SG(request_info).argv = script;
			for (char **a = script; *a; a++)
				SG(request_info).argc++;
		}
		if (php_request_startup() == SUCCESS) {
			if (task == CLI_VERSION)
				print_version();
			else if (task == CLI_INFO)
				php_print_info(PHP_INFO_ALL);
			else
				run_file(script);
			status = EG(exit_status);
			php_request_shutdown(NULL);
		}
	}
	zend_end_try();
	php_module_shutdown();
	return status;
}
