/* One connection to the web server: requests in, response packets out. */
#ifndef CONNECTION_H
#define CONNECTION_H

#include "packet.h"

#include <stddef.h>
#include <sys/types.h>

extern struct request request; /* valid between connection_read_request and connection_finish_request */
extern int connection_fd;      /* -1: none */

/* Takes an accepted socket. A worker fresh from its parent tells its pid, and for that answers its first request without
 * REQ_RECEIVED. */
void connection_open(int fd, int tell_pid);
void connection_close(void);

/* Reads and acknowledges one whole request packet, without its body. -1: end of the connection or no LSAPI. */
int connection_read_request(void);

/* As many body bytes as there are, up to `size`; fewer only at the end of the body or of the connection. */
size_t connection_read_body(char *into, size_t size);

void response_status(int status);
void response_header(const char *line, size_t length);
/* 0, or -1 when the client is gone. What is written stays in a buffer until it is full or flushed. */
int response_write(const char *data, size_t length);
int response_flush(void);
/* Text for the front end's error log, or for our stderr when there is no connection. */
void response_log(const char *text, size_t length);
/* Ends the response and the connection while the script goes on: litespeed_finish_request. */
void response_end_early(void);

/* After the script: sends what is left and RESP_END. */
void connection_finish_request(void);
/* Tells the client to reconnect, and closes. */
void connection_give_up(void);

#endif
