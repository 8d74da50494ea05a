#include "listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* lsphp's fixed queue: with -b the twelfth waiting connect hangs. */
enum { BACKLOG = 10 };

static int bind_and_listen(const struct sockaddr *address, socklen_t length)
{
	int yes = 1;
	int fd = socket(address->sa_family, SOCK_STREAM, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(fd, address, length) || listen(fd, BACKLOG)) {
		int cause = errno;
		close(fd);
		errno = cause;
		return -1;
	}
	return fd;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	unlink(path); /* left over from the last run */
	return bind_and_listen((struct sockaddr *)&address, sizeof address);
}

static int listen_tcp(int family, char *host, const char *port)
{
	struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
	errno = EINVAL;
	if (atoi(port) <= 0 || atoi(port) > 65535 || getaddrinfo(strcmp(host, "*") ? host : NULL, port, &hints, &found))
		return -1;
	int fd = bind_and_listen(found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return fd;
}

int listen_on(const char *address)
{
	char host[256], *end;
	int bracket = address[0] == '[';

	if (address[0] == '/')
		return listen_unix(address);
	strncpy(host, address + bracket, sizeof host - 1);
	host[sizeof host - 1] = '\0';
	end = strstr(host, bracket ? "]:" : ":");
	if (!end) {
		errno = EINVAL;
		return -1;
	}
	*end = '\0';
	return listen_tcp(bracket ? AF_INET6 : AF_INET, host, end + 1 + bracket);
}
