/* lsphp for tests: real PHP behind LSAPI, with the behaviour of LiteSpeed's lsphp that a launcher has to live with. */
#include "cli.h"
#include "connection.h"
#include "listen.h"
#include "pool.h"
#include "sapi.h"
#include "settings.h"
#include "title.h"
#include "worker.h"

#include "SAPI.h"
#include "php_main.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

struct options {
	char *address, *ini;
	enum cli_task task;
	char **script; /* the rest of argv: a file to run and its arguments */
};

static int read_options(int argc, char **argv, struct options *o)
{
	int option;
	while ((option = getopt(argc, argv, "+:b:c:vi")) != -1) {
		switch (option) {
		case 'b':
			o->address = strdup(optarg);
			break;
		case 'c':
			o->ini = strdup(optarg);
			break;
		case 'v':
			o->task = CLI_VERSION;
			break;
		case 'i':
			o->task = CLI_INFO;
			break;
		default:
			fprintf(stderr, "usage: lsphp [-b ADDRESS] [-c PATH] | -v | -i | FILE [ARGUMENT...]\n");
			return -1;
		}
	}
	o->script = argv + optind;
	if (o->task == CLI_NONE && o->script[0])
		o->task = CLI_SCRIPT;
	return 0;
}

/* Descriptor 0 becomes /dev/null, and stdout goes where stderr goes: a stray print must not end up in a response. */
static int take_listener(const char *address)
{
	int fd = address ? listen_on(address) : dup(STDIN_FILENO);
	if (fd < 0) {
		fprintf(stderr, "Failed to bind socket [%s]: %s\n", address ? address : "stdin", strerror(errno));
		return -1;
	}
	int null = open("/dev/null", O_RDWR);
	dup2(null, STDIN_FILENO);
	close(null);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	return fd;
}

static int is_listening(int fd)
{
	int yes = 0;
	socklen_t size = sizeof yes;
	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &size) && yes;
}

/* lsphp never runs a script as root: its workers become nobody. */
static int leave_root(void)
{
	if (geteuid() != 0)
		return 0;
	struct passwd *nobody = getpwnam("nobody");
	if (!nobody || setgroups(0, NULL) || setgid(nobody->pw_gid) || setuid(nobody->pw_uid)) {
		fprintf(stderr, "lsphp: cannot become nobody: %s\n", strerror(errno));
		return -1;
	}
	return 0;
}

static int serve(const struct options *o)
{
	int listener = take_listener(o->address);
	if (listener < 0)
		return 2;
	struct settings settings = settings_from_environment();
	if (!is_listening(listener)) {
		worker_init(&settings, -1);
		connection_open(listener, 0);
	} else {
		fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK);
		worker_init(&settings, listener);
		if (settings.children > 1 && !pool_run(&settings, listener))
			return 0;
	}
	if (leave_root())
		return 1;
	while (worker_next_request()) {
		sapi_serve_request();
		connection_finish_request();
	}
	php_module_shutdown();
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	signal(SIGPIPE, SIG_IGN);
	zend_signal_startup();
	if (read_options(argc, argv, &o))
		return 1;
	if (o.task != CLI_NONE)
		cli_prepare();
	lsphp_sapi.executable_location = argv[0];
	lsphp_sapi.php_ini_path_override = o.ini;
	sapi_startup(&lsphp_sapi);
	if (php_module_startup(&lsphp_sapi, &lsphp_module) == FAILURE)
		return 1;
	if (o.task != CLI_NONE)
		return cli_run(o.task, o.script);
	title_init(argc, argv);
	return serve(&o);
}
