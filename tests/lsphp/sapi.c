#include "sapi.h"

#include "connection.h"
#include "title.h"

#include "SAPI.h"
#include "php_ini.h"
#include "php_main.h"
#include "php_variables.h"

#include <signal.h>

static int cleaning; /* the request is being shut down: a signal now ends the process at once */

/* That the client is gone is noticed by flush_body only, as in lsphp: a script that writes more than the buffer at once
 * runs to its end for nobody, and its worker with it. */
static size_t write_body(const char *text, size_t length)
{
	response_write(text, length);
	return length;
}

static void flush_body(void *context)
{
	if (response_flush())
		php_handle_aborted_connection();
}

static int send_headers(sapi_headers_struct *headers)
{
	zend_llist_position at;
	response_status(SG(sapi_headers).http_response_code);
	for (sapi_header_struct *h = zend_llist_get_first_ex(&headers->headers, &at); h;
	     h = zend_llist_get_next_ex(&headers->headers, &at))
		response_header(h->header, h->header_len);
	if (SG(sapi_headers).send_default_content_type) {
		char *type = sapi_get_default_content_type(), *line;
		size_t length = spprintf(&line, 0, "Content-type: %s", type);
		response_header(line, length);
		efree(line);
		efree(type);
	}
	return SAPI_HEADER_SENT_SUCCESSFULLY;
}

static char *request_variable(const char *name, size_t length)
{
	for (int i = 0; i < H_TRANSFER_ENCODING; i++)
		if (request.known[i].value && !strncmp(name, "HTTP_", 5) && !strcmp(name, known_header_vars[i]))
			return request.known[i].value;
	for (int i = 0; i < request.env_count; i++)
		if (!strcmp(name, request.env[i].name))
			return request.env[i].value;
	return NULL;
}

static void add_variable(const char *name, char *value, size_t length, zval *array)
{
	int kind = Z_ARR_P(array) == Z_ARR(PG(http_globals)[TRACK_VARS_ENV]) ? PARSE_ENV : PARSE_SERVER;
	if (sapi_module.input_filter(kind, name, &value, length, &length))
		php_register_variable_safe((char *)name, value, length, array);
}

/* X-Some-Header becomes HTTP_X_SOME_HEADER. */
static void add_unknown_header(const struct pair *header, zval *array)
{
	char name[256] = "HTTP_";
	int length = header->name_length < 250 ? header->name_length : 250;
	for (int i = 0; i < length; i++) {
		char c = header->name[i];
		name[5 + i] = c == '-' ? '_' : toupper((unsigned char)c);
	}
	name[5 + length] = '\0';
	add_variable(name, header->value, header->value_length, array);
}

/* $_SERVER: the process environment, then the headers, then what the front end sent, each winning over the one before.
 * Transfer-Encoding, the last of the known headers, never reaches the script. */
static void register_variables(zval *array)
{
	php_import_environment_variables(array);
	for (int i = 0; i < H_TRANSFER_ENCODING; i++)
		if (request.known[i].value)
			add_variable(known_header_vars[i], request.known[i].value, request.known[i].value_length, array);
	for (int i = 0; i < request.unknown_count; i++)
		add_unknown_header(&request.unknown[i], array);
	for (int i = 0; i < request.env_count; i++)
		add_variable(request.env[i].name, request.env[i].value, request.env[i].value_length, array);
	add_variable("PHP_SELF", SG(request_info).request_uri, strlen(SG(request_info).request_uri), array);
}

static size_t read_post(char *into, size_t size)
{
	return connection_read_body(into, size);
}

static char *read_cookies(void)
{
	return request.known[H_COOKIE].value;
}

static void log_message(const char *message, int level)
{
	size_t length = strlen(message);
	char *line = emalloc(length + 1);
	memcpy(line, message, length);
	line[length] = '\n';
	response_log(line, length && message[length - 1] == '\n' ? length : length + 1);
	efree(line);
}

static int activate(void)
{
	if (SG(request_info).path_translated)
		user_ini_activate();
	return SUCCESS;
}

static int deactivate(void)
{
	if (SG(request_info).path_translated)
		efree(SG(request_info).path_translated);
	SG(request_info).path_translated = NULL;
	return SUCCESS;
}

static int start(sapi_module_struct *module)
{
	return php_module_startup(module, &lsphp_module);
}

struct _sapi_module_struct lsphp_sapi = {
	.name = "litespeed",
	.pretty_name = "LiteSpeed (test backend)",
	.startup = start,
	.shutdown = php_module_shutdown_wrapper,
	.activate = activate,
	.deactivate = deactivate,
	.ub_write = write_body,
	.flush = flush_body,
	.getenv = request_variable,
	.sapi_error = php_error,
	.send_headers = send_headers,
	.read_post = read_post,
	.read_cookies = read_cookies,
	.register_server_variables = register_variables,
	.log_message = log_message,
};

/* A signal inside a request runs the script's shutdown functions, then ends the worker with status 1; from the first
 * request on this also holds between requests. */
static void on_signal(int signal)
{
	if (cleaning)
		_exit(1);
	if (!SG(sapi_started))
		exit(1);
	cleaning = 1;
	zend_try
	{
		php_request_shutdown(NULL);
	}
	zend_end_try();
	exit(1);
}

static void catch_signals(void)
{
	static const int caught[] = {SIGINT, SIGQUIT, SIGILL, SIGABRT, SIGBUS, SIGSEGV, SIGTERM};
	for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
		sigaction(caught[i], &(struct sigaction){.sa_handler = on_signal, .sa_flags = SA_NODEFER}, NULL);
}

/* Settings the front end sends with a request: names start with \1 and a kind, 4 being a system setting (php_admin_value).
 * LSAPI knows no authentication: whoever reaches the port may set anything. Returns 0 if they switch PHP off. */
static int apply_request_settings(void)
{
	int engine = 1;
	for (int i = 0; i < request.special_count; i++) {
		const struct pair *p = &request.special[i];
		if (p->name_length < 3 || p->name[0] != '\1')
			continue;
		int system = p->name[1] == 4;
		if (!strcasecmp(p->name + 2, "engine")) {
			engine = engine && p->value[0] != '0';
			continue;
		}
		zend_string *name = zend_string_init(p->name + 2, p->name_length - 2, 1);
		zend_alter_ini_entry_chars(name, p->value, p->value_length, system ? ZEND_INI_SYSTEM : ZEND_INI_PERDIR,
		                           system ? PHP_INI_STAGE_ACTIVATE : PHP_INI_STAGE_HTACCESS);
		zend_string_release_ex(name, 1);
	}
	return engine;
}

static void describe_request(void)
{
	char *type = request.known[H_CONTENT_TYPE].value;
	SG(server_context) = (void *)1; /* PHP reads a body only for a server */
	SG(request_info).content_type = type ? type : "";
	SG(request_info).request_method = request.method;
	SG(request_info).query_string = request.query_string;
	SG(request_info).request_uri = request.script_name;
	SG(request_info).content_length = request.body_length;
	SG(request_info).path_translated = estrdup(request.script_filename);
	SG(sapi_headers).http_response_code = 200;
	php_handle_auth_data(request.known[H_AUTHORIZATION].value);
}

static void run_script(void)
{
	zend_file_handle script;
	zend_stream_init_filename(&script, SG(request_info).path_translated);
	script.primary_script = 1;
	title_show(SG(request_info).path_translated);
	php_execute_script(&script);
	zend_destroy_file_handle(&script);
}

static void refuse(void)
{
	static const char text[] = "Forbidden: PHP engine is disable.\n";
	response_header("status: 403", 11);
	response_header("content-type: text/html", 23);
	response_write(text, sizeof text - 1);
}

void sapi_serve_request(void)
{
	zend_first_try
	{
		if (!apply_request_settings()) {
			refuse();
		} else {
			describe_request();
			if (php_request_startup() == SUCCESS) {
				catch_signals();
				run_script();
				php_request_shutdown(NULL);
				title_clear();
			}
		}
	}
	zend_end_try();
}
