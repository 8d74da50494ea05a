#include "packet.h"

#include <stdlib.h>
#include <string.h>

enum { BIG_ENDIAN_FLAG = 1, FIXED_PART = PACKET_PREFIX + 9 * 4, INDEX_PART = KNOWN_HEADERS * 6 + 2 };

const char *const known_header_names[KNOWN_HEADERS] = {
	"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Authorization", "Connection", "Content-Type",
	"Content-Length", "Cookie", "Cookie2", "Host", "Pragma", "Referer", "User-Agent", "Cache-Control",
	"If-Modified-Since", "If-Match", "If-None-Match", "If-Range", "If-Unmodified-Since", "Keep-Alive", "Range",
	"X-Forwarded-For", "Via", "Transfer-Encoding",
};

const char *const known_header_vars[KNOWN_HEADERS] = {
	"HTTP_ACCEPT", "HTTP_ACCEPT_CHARSET", "HTTP_ACCEPT_ENCODING", "HTTP_ACCEPT_LANGUAGE", "HTTP_AUTHORIZATION",
	"HTTP_CONNECTION", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_COOKIE", "HTTP_COOKIE2", "HTTP_HOST", "HTTP_PRAGMA",
	"HTTP_REFERER", "HTTP_USER_AGENT", "HTTP_CACHE_CONTROL", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_MATCH",
	"HTTP_IF_NONE_MATCH", "HTTP_IF_RANGE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_KEEP_ALIVE", "HTTP_RANGE",
	"HTTP_X_FORWARDED_FOR", "HTTP_VIA", "HTTP_TRANSFER_ENCODING",
};

/* A place in the packet being read; `failed` stays set, so that a reader may check once at the end. */
struct cursor {
	char *start, *at, *end;
	int big_endian, failed;
};

static char *take(struct cursor *c, int64_t length)
{
	char *taken = c->at;
	if (c->failed || length < 0 || length > c->end - c->at) {
		c->failed = 1;
		return NULL;
	}
	c->at += length;
	return taken;
}

static uint32_t number(const unsigned char *bytes, int width, int big_endian)
{
	uint32_t value = 0;
	for (int i = 0; i < width; i++)
		value = value << 8 | bytes[big_endian ? i : width - 1 - i];
	return value;
}

static int32_t take_i32(struct cursor *c)
{
	char *bytes = take(c, 4);
	return bytes ? (int32_t)number((unsigned char *)bytes, 4, c->big_endian) : 0;
}

void packet_prefix(unsigned char out[PACKET_PREFIX], enum packet_type type, int length)
{
	int32_t native = length;
	out[0] = 'L';
	out[1] = 'S';
	out[2] = type;
	out[3] = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? BIG_ENDIAN_FLAG : 0;
	memcpy(out + 4, &native, 4);
}

int packet_request_length(const unsigned char prefix[PACKET_PREFIX])
{
	if (prefix[0] != 'L' || prefix[1] != 'S' || prefix[2] != BEGIN_REQUEST)
		return -1;
	int32_t length = (int32_t)number(prefix + 4, 4, prefix[3] & BIG_ENDIAN_FLAG);
	return length < FIXED_PART || length > PACKET_MAX_REQUEST ? -1 : length;
}

/* Variables: big-endian lengths whatever the flag says, each counting the terminating NUL; four zero bytes end the list. */
static void take_entries(struct cursor *c, struct pair *entries, int count)
{
	for (int i = 0; i < count && !c->failed; i++) {
		unsigned char *lengths = (unsigned char *)take(c, 4);
		if (!lengths)
			return;
		int name_length = number(lengths, 2, 1), value_length = number(lengths + 2, 2, 1);
		char *name = take(c, name_length), *value = take(c, value_length);
		if (c->failed || !name_length || !value_length) {
			c->failed = 1;
			return;
		}
		name[name_length - 1] = value[value_length - 1] = '\0';
		entries[i] = (struct pair){name, value, name_length - 1, value_length - 1};
	}
	char *terminator = take(c, 4);
	if (terminator && memcmp(terminator, "\0\0\0\0", 4))
		c->failed = 1;
}

/* The text at offset..offset+length of the raw header block, terminated in place (over the ':' or CR that follows it). */
static char *header_text(struct cursor *c, char *block, int block_length, int64_t offset, int64_t length)
{
	if (offset < 0 || length < 0 || offset + length > block_length) {
		c->failed = 1;
		return NULL;
	}
	block[offset + length] = '\0';
	return block + offset;
}

static void take_headers(struct cursor *c, struct request *r, int block_length)
{
	take(c, (8 - (c->at - c->start) % 8) % 8);
	unsigned char *index = (unsigned char *)take(c, INDEX_PART);
	unsigned char *unknown = (unsigned char *)take(c, (int64_t)r->unknown_count * 16);
	char *block = take(c, block_length);
	if (c->failed || c->at != c->end) {
		c->failed = 1;
		return;
	}
	for (int i = 0; i < KNOWN_HEADERS; i++) {
		int length = number(index + 2 * i, 2, c->big_endian);
		int32_t offset = number(index + 2 * KNOWN_HEADERS + 2 + 4 * i, 4, c->big_endian);
		r->known[i] = (struct pair){0};
		if (offset)
			r->known[i] = (struct pair){(char *)known_header_names[i], header_text(c, block, block_length, offset, length),
			                            (int)strlen(known_header_names[i]), length};
	}
	for (int i = 0; i < r->unknown_count; i++) {
		int32_t field[4];
		for (int f = 0; f < 4; f++)
			field[f] = number(unknown + 16 * i + 4 * f, 4, c->big_endian);
		r->unknown[i] = (struct pair){header_text(c, block, block_length, field[0], field[1]),
		                              header_text(c, block, block_length, field[2], field[3]), field[1], field[3]};
	}
}

static int reserve(struct pair **array, int count)
{
	if (count < 0 || count > PACKET_MAX_ENTRIES)
		return -1;
	struct pair *grown = realloc(*array, (count + 1) * sizeof **array);
	if (!grown)
		return -1;
	*array = grown;
	return 0;
}

int packet_parse_request(struct request *r, char *packet, int length)
{
	struct cursor c = {packet, packet + PACKET_PREFIX, packet + length, packet[3] & BIG_ENDIAN_FLAG, 0};
	char **named[4] = {&r->script_filename, &r->script_name, &r->query_string, &r->method};

	int block_length = take_i32(&c);
	r->body_length = take_i32(&c);
	for (int i = 0; i < 4; i++) {
		int32_t offset = take_i32(&c);
		if (offset < 0 || offset >= length)
			return -1;
		*named[i] = packet + offset;
	}
	r->unknown_count = take_i32(&c);
	r->env_count = take_i32(&c);
	r->special_count = take_i32(&c);
	if (reserve(&r->special, r->special_count) || reserve(&r->env, r->env_count) || reserve(&r->unknown, r->unknown_count))
		return -1;
	take_entries(&c, r->special, r->special_count);
	take_entries(&c, r->env, r->env_count);
	take_headers(&c, r, block_length);
	packet[length] = '\0'; /* an offset may point at the last bytes of the packet */
	if (!c.failed && r->body_length == -2)
		r->body_length = r->known[H_CONTENT_LENGTH].value ? strtoll(r->known[H_CONTENT_LENGTH].value, NULL, 10) : 0;
	return c.failed ? -1 : 0;
}
