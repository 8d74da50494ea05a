/* The PHP functions of the litespeed SAPI. */
#include "sapi.h"

#include "connection.h"

#include "SAPI.h"
#include "ext/standard/head.h"

/* Headers in the order in which they were sent: that of their values in the raw block. */
static int by_position(const void *a, const void *b)
{
	const char *left = ((const struct pair *)a)->value, *right = ((const struct pair *)b)->value;
	return (left > right) - (left < right);
}

PHP_FUNCTION(litespeed_request_headers)
{
	ZEND_PARSE_PARAMETERS_NONE();
	struct pair *sent = safe_emalloc(KNOWN_HEADERS + request.unknown_count, sizeof *sent, 0);
	int count = 0;
	for (int i = 0; i < H_TRANSFER_ENCODING; i++)
		if (request.known[i].value)
			sent[count++] = request.known[i];
	for (int i = 0; i < request.unknown_count; i++)
		sent[count++] = request.unknown[i];
	qsort(sent, count, sizeof *sent, by_position);

	array_init(return_value);
	for (int i = 0; i < count; i++)
		add_assoc_string_ex(return_value, sent[i].name, sent[i].name_length, sent[i].value);
	efree(sent);
}

PHP_FUNCTION(litespeed_response_headers)
{
	zend_llist_position at;
	ZEND_PARSE_PARAMETERS_NONE();
	array_init(return_value);
	for (sapi_header_struct *h = zend_llist_get_first_ex(&SG(sapi_headers).headers, &at); h;
	     h = zend_llist_get_next_ex(&SG(sapi_headers).headers, &at)) {
		char *colon = strchr(h->header, ':');
		if (colon && colon > h->header)
			add_assoc_string_ex(return_value, h->header, colon - h->header, colon + 1 + strspn(colon + 1, " \t"));
	}
}

PHP_FUNCTION(litespeed_finish_request)
{
	ZEND_PARSE_PARAMETERS_NONE();
	php_output_end_all();
	php_header();
	response_end_early();
	RETURN_TRUE;
}

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(returns_array, 0, 0, IS_ARRAY, 0)
ZEND_END_ARG_INFO()
ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(returns_bool, 0, 0, _IS_BOOL, 0)
ZEND_END_ARG_INFO()

static const zend_function_entry functions[] = {
	ZEND_FE(litespeed_request_headers, returns_array)
	ZEND_FALIAS(getallheaders, litespeed_request_headers, returns_array)
	ZEND_FALIAS(apache_request_headers, litespeed_request_headers, returns_array)
	ZEND_FE(litespeed_response_headers, returns_array)
	ZEND_FALIAS(apache_response_headers, litespeed_response_headers, returns_array)
	ZEND_FE(litespeed_finish_request, returns_bool)
	ZEND_FE_END
};

static PHP_MINIT_FUNCTION(litespeed)
{
	user_ini_init();
	return SUCCESS;
}

zend_module_entry lsphp_module = {
	STANDARD_MODULE_HEADER, "litespeed", functions, PHP_MINIT(litespeed), NULL, NULL, NULL, NULL, PHP_VERSION,
	STANDARD_MODULE_PROPERTIES,
};
