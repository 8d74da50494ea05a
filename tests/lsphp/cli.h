/* lsphp without a web server: version, phpinfo, or one script with its output on stdout. */
#ifndef CLI_H
#define CLI_H

enum cli_task { CLI_NONE, CLI_VERSION, CLI_INFO, CLI_SCRIPT };

/* Turns the server API to stdout; call it before PHP starts. */
void cli_prepare(void);
/* The exit status. `script` is a NULL-terminated list: a file and its arguments. */
int cli_run(enum cli_task task, char **script);

#endif
