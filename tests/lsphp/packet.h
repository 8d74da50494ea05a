/* The LSAPI wire format: bytes in, a request out. Nothing here reads or writes a descriptor. */
#ifndef PACKET_H
#define PACKET_H

#include <stddef.h>
#include <stdint.h>

enum packet_type {
	BEGIN_REQUEST = 1,
	RESP_HEADER = 3,
	RESP_STREAM = 4,
	RESP_END = 5,
	STDERR_STREAM = 6,
	REQ_RECEIVED = 7,
	CONN_CLOSE = 8,
};

enum {
	PACKET_PREFIX = 8,         /* 'L' 'S', type, flags, length */
	PACKET_MAX_REQUEST = 65535,
	PACKET_MAX_DATA = 16384,   /* body or log bytes in one packet */
	PACKET_MAX_ENTRIES = 8192, /* variables of one kind in a request */
	MAX_RESPONSE_HEADERS = 1000,
	MAX_RESPONSE_HEADER = 32768,
};

/* The request headers that have a fixed place in the index of the packet. */
enum known_header {
	H_AUTHORIZATION = 4,
	H_CONTENT_TYPE = 6,
	H_CONTENT_LENGTH = 7,
	H_COOKIE = 8,
	H_TRANSFER_ENCODING = 24,
	KNOWN_HEADERS = 25,
};

extern const char *const known_header_names[KNOWN_HEADERS]; /* "Content-Type" */
extern const char *const known_header_vars[KNOWN_HEADERS];  /* "CONTENT_TYPE" */

/* A name and a value inside the packet, both NUL-terminated. */
struct pair {
	char *name, *value;
	int name_length, value_length;
};

struct request {
	char *script_filename, *script_name, *query_string, *method;
	int64_t body_length;
	struct pair *special, *env, *unknown;
	int special_count, env_count, unknown_count;
	struct pair known[KNOWN_HEADERS]; /* value NULL: the header is absent */
};

/* Writes the eight bytes that start a packet of `length` bytes, these eight included. */
void packet_prefix(unsigned char out[PACKET_PREFIX], enum packet_type type, int length);

/* The whole length of the BEGIN_REQUEST that starts with these bytes, or -1 if it is none. */
int packet_request_length(const unsigned char prefix[PACKET_PREFIX]);

/* Reads a whole packet of `length` bytes; packet[length] must be writable. Values stay in the packet, which is
 * changed to terminate them. 0, or -1 if the packet contradicts itself. The arrays are kept for the next call. */
int packet_parse_request(struct request *request, char *packet, int length);

#endif
