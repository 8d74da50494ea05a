/* PHP's side: the `litespeed` server API and the execution of one request. */
#ifndef LSPHP_SAPI_H
#define LSPHP_SAPI_H

#include "php.h"

extern struct _sapi_module_struct lsphp_sapi;
extern zend_module_entry lsphp_module;

/* Runs the script of the current request; the response is complete but not yet ended. */
void sapi_serve_request(void);

/* .user.ini files from DOCUMENT_ROOT down to the script's directory (user_ini.c). */
void user_ini_init(void);
void user_ini_activate(void);

#endif
