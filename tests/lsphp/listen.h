#ifndef LISTEN_H
#define LISTEN_H

/* A listening socket on 0.0.0.0:9000, [::]:9000, *:9000, name:9000 or /path/of/a/unix/socket; -1 with errno set. */
int listen_on(const char *address);

#endif
