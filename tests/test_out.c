/* The queue of bytes to be written: everything leaves in order, however little the kernel takes. */
#include "tests/harness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "ipc/wire/out.h"

static size_t put(struct ipc_out *out, unsigned char first, size_t n)
{
	unsigned char *at = must(ipc_out_reserve(out, n));

	for (size_t i = 0; i < n; i++)
		at[i] = (unsigned char)(first + i);
	ipc_out_commit(out, n, NULL);
	return n;
}

/* Takes at most @n bytes out and checks that they go on counting from *@next. */
static void drain(struct ipc_out *out, size_t n, unsigned char *next)
{
	struct iovec iov[4];
	const struct aiomsg *fds;
	int count = ipc_out_iov(out, iov, 4, &fds);
	size_t took = 0;

	for (int i = 0; i < count && took < n; i++)
		for (size_t k = 0; k < iov[i].iov_len && took < n; k++, took++)
			ck_assert_int_eq(((unsigned char *)iov[i].iov_base)[k], (*next)++);
	ipc_out_wrote(out, took);
}

TEST(bytes_leave_in_order_whatever_the_steps)
{
	static const size_t steps[] = {1, 7, 4096, 100000};

	for (size_t i = 0; i < 4; i++) {
		struct ipc_out out = {0};
		size_t queued = 0;
		unsigned char next = 0;

		for (unsigned k = 0; k < 300; k++)
			queued += put(&out, (unsigned char)queued, 1 + k * 7 % 999);
		ck_assert_uint_eq(out.bytes, queued);
		while (out.count)
			drain(&out, steps[i], &next);
		ck_assert_uint_eq(out.bytes, 0);
		ck_assert_int_eq(next, (unsigned char)queued);
		ipc_out_free(&out);
	}
}

TEST(references_keep_their_place_between_small_frames)
{
	struct ipc_out out = {0};
	unsigned char next = 0, data[5000];
	struct aiomsg *m;
	size_t queued = put(&out, 0, 10);

	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (unsigned char)(queued + i);
	m = must(aiomsg_new_bytes(data, sizeof data));
	must(ipc_out_append(&out, m));
	aiomsg_free(m);
	queued += sizeof data;
	queued += put(&out, (unsigned char)queued, 20);
	while (out.count)
		drain(&out, 333, &next);
	ck_assert_int_eq(next, (unsigned char)queued);
	ipc_out_free(&out);
}

TEST(descriptors_go_with_the_first_byte_of_their_frame_only)
{
	struct ipc_out out = {0};
	struct iovec iov[4];
	const struct aiomsg *fds;
	struct aiomsg *carrier = must(ipc_msg_alloc(IPC_KIND_BYTES, 0));
	int fd = must(open("/dev/null", O_RDONLY | O_CLOEXEC));

	must(aiomsg_add_fd(carrier, fd));
	must(close(fd));
	put(&out, 0, 10);
	must(ipc_out_reserve(&out, 5));
	ipc_out_commit(&out, 5, carrier);
	ck_assert_uint_eq(out.fds, 1);
	ck_assert_int_eq(ipc_out_iov(&out, iov, 4, &fds), 1);
	ck_assert_ptr_null(fds);
	ipc_out_wrote(&out, 10);
	ck_assert_int_eq(ipc_out_iov(&out, iov, 4, &fds), 1);
	ck_assert_ptr_eq(fds, carrier);
	ipc_out_wrote(&out, 1);
	ck_assert_uint_eq(out.fds, 0);
	ipc_out_iov(&out, iov, 4, &fds);
	ck_assert_ptr_null(fds);
	ipc_out_free(&out);
}
