#include "connection.h"

#include "board.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BODY_BUFFER = 8192, RESPONSE_FIXED = PACKET_PREFIX + 8 };

static enum { NO_REQUEST, HEADERS_OPEN, HEADERS_CLOSED, ENDED_EARLY } stage;

struct request request;
int connection_fd = -1;

static char packet[PACKET_MAX_REQUEST + 1];
static int64_t body_read;
static int pid_told;

static struct {
	int status, count;
	uint16_t lengths[MAX_RESPONSE_HEADERS];
	char *lines; /* one after the other, each with its NUL */
	size_t used, capacity;
} headers;
static int headers_unsent;
static char body[BODY_BUFFER];
static size_t body_used;

void connection_open(int fd, int tell_pid)
{
	int yes = 1;
	connection_fd = fd;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes); /* fails on a unix socket, which needs none */
	worker_connected();
	pid_told |= tell_pid;
	if (tell_pid) {
		unsigned char told[PACKET_PREFIX + 8];
		int32_t pid = getpid();
		packet_prefix(told, STDERR_STREAM, sizeof told);
		memcpy(told + PACKET_PREFIX, "\0PID", 4);
		memcpy(told + PACKET_PREFIX + 4, &pid, 4);
		if (write(fd, told, sizeof told) < 0)
			return; /* the client is gone already: the next read says so */
	}
}

void connection_close(void)
{
	if (connection_fd < 0)
		return;
	close(connection_fd);
	connection_fd = -1;
	worker_disconnected();
}

/* Bytes read, fewer than `size` only at the end of the stream or on an error. */
static size_t read_fully(void *into, size_t size)
{
	size_t done = 0;
	while (done < size) {
		ssize_t n = read(connection_fd, (char *)into + done, size - done);
		if (n > 0)
			done += n;
		else if (n == 0 || errno != EINTR)
			break;
	}
	return done;
}

static int write_fully(struct iovec *parts, int count)
{
	while (count > 0) {
		ssize_t n = worker_stopping() ? -1 : writev(connection_fd, parts, count);
		if (n < 0 && errno == EINTR && !worker_stopping())
			continue;
		if (n < 0) {
			connection_close();
			return -1;
		}
		for (; count > 0 && (size_t)n >= parts->iov_len; parts++, count--)
			n -= parts->iov_len;
		if (count > 0) {
			parts->iov_base = (char *)parts->iov_base + n;
			parts->iov_len -= n;
		}
	}
	return 0;
}

static int send_empty(enum packet_type type)
{
	unsigned char prefix[PACKET_PREFIX];
	packet_prefix(prefix, type, sizeof prefix);
	return write_fully(&(struct iovec){prefix, sizeof prefix}, 1);
}

int connection_read_request(void)
{
	if (read_fully(packet, PACKET_PREFIX) < PACKET_PREFIX)
		return -1;
	int length = packet_request_length((unsigned char *)packet);
	if (length < 0 || read_fully(packet + PACKET_PREFIX, length - PACKET_PREFIX) < (size_t)length - PACKET_PREFIX ||
	    packet_parse_request(&request, packet, length)) {
		fprintf(stderr, "[UID:%d][%d] not a request: connection closed\n", getuid(), getpid());
		return -1;
	}
	stage = HEADERS_OPEN;
	headers.status = headers.count = headers.used = headers_unsent = 0;
	body_used = 0;
	body_read = 0;
	if (!pid_told)
		return send_empty(REQ_RECEIVED);
	pid_told = 0;
	return 0;
}

size_t connection_read_body(char *into, size_t size)
{
	int64_t left = request.body_length - body_read;
	if (left <= 0 || connection_fd < 0)
		return 0;
	size_t n = read_fully(into, (int64_t)size < left ? size : (size_t)left);
	body_read += n;
	return n;
}

void response_status(int status)
{
	headers.status = status;
}

void response_header(const char *line, size_t length)
{
	while (length && (line[length - 1] == '\r' || line[length - 1] == '\n'))
		length--;
	if (!length || length > MAX_RESPONSE_HEADER || headers.count == MAX_RESPONSE_HEADERS || stage != HEADERS_OPEN)
		return;
	if (headers.used + length + 1 > headers.capacity) {
		char *grown = realloc(headers.lines, headers.used + length + 4096);
		if (!grown)
			return;
		headers.lines = grown;
		headers.capacity = headers.used + length + 4096;
	}
	memcpy(headers.lines + headers.used, line, length);
	headers.used += length;
	headers.lines[headers.used++] = '\0';
	headers.lengths[headers.count++] = length + 1;
}

/* Sends the headers (once), then one RESP_STREAM of the buffered body and `data`, then `end`, in a single system call. */
static int send_response(const char *data, size_t length, struct iovec end)
{
	unsigned char head[RESPONSE_FIXED], stream[PACKET_PREFIX];
	struct iovec parts[7];
	int n = 0;

	if (connection_fd < 0)
		return -1;
	if (headers_unsent) {
		size_t index = headers.count * sizeof *headers.lengths;
		packet_prefix(head, RESP_HEADER, sizeof head + index + headers.used);
		memcpy(head + PACKET_PREFIX, (int32_t[]){headers.count, headers.status}, 8);
		parts[n++] = (struct iovec){head, sizeof head};
		parts[n++] = (struct iovec){headers.lengths, index};
		parts[n++] = (struct iovec){headers.lines, headers.used};
		headers_unsent = 0;
	}
	if (body_used + length) {
		packet_prefix(stream, RESP_STREAM, PACKET_PREFIX + body_used + length);
		parts[n++] = (struct iovec){stream, sizeof stream};
		parts[n++] = (struct iovec){body, body_used};
		parts[n++] = (struct iovec){(char *)data, length};
		body_used = 0;
	}
	if (end.iov_len)
		parts[n++] = end;
	return write_fully(parts, n);
}

static void close_headers(void)
{
	if (stage == HEADERS_OPEN) {
		stage = HEADERS_CLOSED;
		headers_unsent = 1;
	}
}

int response_write(const char *data, size_t length)
{
	if (stage == ENDED_EARLY)
		return 0;
	if (connection_fd < 0)
		return -1;
	close_headers();
	if (length < sizeof body - body_used) {
		memcpy(body + body_used, data, length);
		body_used += length;
		return 0;
	}
	while (length) {
		size_t room = PACKET_MAX_DATA - body_used, part = length < room ? length : room;
		if (send_response(data, part, (struct iovec){0}))
			return -1;
		data += part;
		length -= part;
	}
	return 0;
}

int response_flush(void)
{
	if (stage == ENDED_EARLY)
		return 0;
	if (!headers_unsent && !body_used)
		return 0;
	return send_response(NULL, 0, (struct iovec){0});
}

void response_log(const char *text, size_t length)
{
	unsigned char prefix[PACKET_PREFIX];
	if (connection_fd < 0) {
		if (write(STDERR_FILENO, text, length) < 0)
			return; /* nowhere left to say it */
		return;
	}
	if (body_used && response_flush())
		return;
	while (length && connection_fd >= 0) {
		size_t part = length < PACKET_MAX_DATA ? length : PACKET_MAX_DATA;
		packet_prefix(prefix, STDERR_STREAM, sizeof prefix + part);
		write_fully((struct iovec[]){{prefix, sizeof prefix}, {(char *)text, part}}, 2);
		text += part;
		length -= part;
	}
}

void response_end_early(void)
{
	unsigned char end[2 * PACKET_PREFIX];
	if (stage == NO_REQUEST || stage == ENDED_EARLY)
		return;
	close_headers();
	packet_prefix(end, RESP_END, PACKET_PREFIX);
	packet_prefix(end + PACKET_PREFIX, CONN_CLOSE, PACKET_PREFIX);
	send_response(NULL, 0, (struct iovec){end, sizeof end});
	connection_close();
	stage = ENDED_EARLY;
}

void connection_finish_request(void)
{
	unsigned char end[PACKET_PREFIX];
	close_headers();
	packet_prefix(end, RESP_END, sizeof end);
	send_response(NULL, 0, (struct iovec){end, sizeof end}); /* does nothing when the client is gone */
	stage = NO_REQUEST;
}

void connection_give_up(void)
{
	send_empty(CONN_CLOSE);
	connection_close();
}
