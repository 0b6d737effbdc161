/*
 * What a server of streams says, fed whole and in pieces: both must give the same replies, each of which is walked to its end, and fail at the
 * same place. Then the same bytes as the address of a server and as the id of an entry, which must come back as it was.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/stream/resp.h"
#include "ipc/stream/server.h"
#include "ipc/stream/work.h"

enum { REPLIES = 64, MOST = 1 << 16 };

static void must(bool condition)
{
	if (!condition)
		abort();
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	return (h ^ v) * UINT64_C(0x100000001b3);
}

/* Every item lies within the reply. */
static uint64_t walk_all(struct ipc_resp_walk w)
{
	const char *from = w.at, *end = w.end;
	struct ipc_resp_walk skipped = w;
	struct ipc_resp_item i;
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	while (ipc_resp_get(&w, &i)) {
		h = mix(mix(h, (uint64_t)(unsigned char)i.type), (uint64_t)i.n);
		if (!i.s)
			continue;
		must(i.s >= from && i.s + i.len <= end);
		for (size_t k = 0; k < i.len; k++)
			h = mix(h, (unsigned char)i.s[k]);
	}
	must(w.at == end);
	ipc_resp_skip(&skipped);
	must(skipped.at == end);
	return h;
}

/* How many replies there were; *@failed: and then it was wrong. */
static size_t feed(const uint8_t *data, size_t size, size_t piece, uint64_t *hash, bool *failed)
{
	struct ipc_resp_in in;
	struct ipc_resp_walk w;
	size_t n = 0, at = 0;
	int r;

	ipc_resp_init(&in, MOST);
	for (;;) {
		while ((r = ipc_resp_next(&in, &w)) == 1) {
			if (n < REPLIES)
				hash[n] = walk_all(w);
			n++;
		}
		if (r == -1 || at == size)
			break;
		piece = size - at < piece ? size - at : piece;
		memcpy(ipc_resp_room(&in, piece), data + at, piece);
		ipc_resp_filled(&in, piece);
		at += piece;
	}
	must(r == 0 || in.check.why);
	*failed = r == -1;
	ipc_resp_free(&in);
	return n;
}

static void read_as_text(const uint8_t *data, size_t size)
{
	struct ipc_entry_id id, again;
	struct ipc_server s;
	char text[IPC_ENTRY_ID], *whole = malloc(size + 1);
	const char *why;

	must(whole);
	memcpy(whole, data, size);
	whole[size] = '\0';
	if (ipc_server_read(&s, whole, &why) == 0) {
		must(s.dial && *s.dial);
		ipc_server_free(&s);
	} else {
		must(why);
	}
	if (ipc_entry_id_read(&id, whole, size) == 0) {
		ipc_entry_id_write(text, id);
		must(ipc_entry_id_read(&again, text, strlen(text)) == 0 && id.ms == again.ms &&
		     id.seq == again.seq);
	}
	free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole[REPLIES] = {0}, parts[REPLIES] = {0};
	bool whole_failed, parts_failed;
	size_t piece, n, m;

	if (size < 2)
		return 0;
	piece = 1 + data[0] % 37;
	n = feed(data + 1, size - 1, size - 1, whole, &whole_failed);
	m = feed(data + 1, size - 1, piece, parts, &parts_failed);
	must(n == m && whole_failed == parts_failed && memcmp(whole, parts, sizeof whole) == 0);
	read_as_text(data + 1, size - 1);
	return 0;
}
