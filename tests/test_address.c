/* Addresses: which are read, which are refused and in what words, and how those of sockets are written. */
#include "tests/harness.h"

#include <arpa/inet.h>
#include <unistd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stddef.h>
#include <string.h>

#include "ipc/net/address.h"

static struct ipc_address read_one(const char *text, enum ipc_address_use use)
{
	struct ipc_address a;
	const char *why = "";

	if (ipc_address_read(&a, text, use, &why) == -1)
		ck_abort_msg("%s: %s", text, why);
	return a;
}

static void expect_tcp(const char *text, enum ipc_address_use use, const char *host, const char *port)
{
	struct ipc_address a = read_one(text, use);

	ck_assert_int_eq(a.kind, IPC_ADDRESS_TCP);
	ck_assert_str_eq(a.host, host);
	ck_assert_str_eq(a.port, port);
}

TEST(tcp_addresses_are_read)
{
	expect_tcp("tcp://127.0.0.1:80", IPC_TO_CONNECT, "127.0.0.1", "80");
	expect_tcp("tcp://localhost:65535", IPC_TO_CONNECT, "localhost", "65535");
	expect_tcp("tcp://a-b.c_d.example:1", IPC_TO_CONNECT, "a-b.c_d.example", "1");
	expect_tcp("tcp://[::1]:8080", IPC_TO_CONNECT, "::1", "8080");
	expect_tcp("tcp://[fe80::1%eth0]:8080", IPC_TO_CONNECT, "fe80::1%eth0", "8080");
	expect_tcp("tcp://[::]:0", IPC_TO_LISTEN, "::", "0");
	expect_tcp("tcp://*:0", IPC_TO_LISTEN, "*", "0");
}

TEST(unix_addresses_are_read)
{
	struct ipc_address a = read_one("unix:///run/x.sock", IPC_TO_CONNECT);

	ck_assert_int_eq(a.kind, IPC_ADDRESS_PATH);
	ck_assert_str_eq(a.un.sun_path, "/run/x.sock");
	ck_assert_uint_eq(a.un_len, offsetof(struct sockaddr_un, sun_path) + strlen("/run/x.sock") + 1);
	a = read_one("unix:@name", IPC_TO_LISTEN);
	ck_assert_int_eq(a.kind, IPC_ADDRESS_ABSTRACT);
	ck_assert_int_eq(memcmp(a.un.sun_path, "\0name", 5), 0);
	ck_assert_uint_eq(a.un_len, offsetof(struct sockaddr_un, sun_path) + 5);
}

TEST(bad_addresses_are_refused_in_words)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{NULL, "no address"},
		{"", "neither"},
		{"localhost:80", "neither"},
		{"udp://localhost:80", "neither"},
		{"tcp:/localhost:80", "neither"},
		{"unix:relative", "neither"},
		{"unix://relative/path", "neither"},
		{"tcp://localhost", "no port"},
		{"tcp://", "no port"},
		{"tcp://[::1]", "no port"},
		{"tcp://[::1]80", "no port"},
		{"tcp://:80", "no host"},
		{"tcp://::1:80", "brackets"},
		{"tcp://[::1:80", "not closed"},
		{"tcp://[localhost]:80", "no IPv6 address"},
		{"tcp://[]:80", "no IPv6 address"},
		{"tcp://[1:2:3:4:5:6:7:8:1:2:3:4:5:6:7:8:1:2:3:4:5:6:7:8]:80", "no IPv6 address"},
		{"tcp://a b:80", "character"},
		{"tcp://a/b:80", "character"},
		{"tcp://host:", "not a number"},
		{"tcp://host:http", "not a number"},
		{"tcp://host:-1", "not a number"},
		{"tcp://host:80/", "not a number"},
		{"tcp://host:65536", "over 65535"},
		{"tcp://host:99999999999999999999", "over 65535"},
		{"tcp://host:0", "only to listen"},
		{"tcp://*:80", "only to listen"},
		{"unix:@", "no name"},
		{"unix:///", "no path"},
	};
	struct ipc_address a;
	const char *why;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		why = "";
		must_fail(ipc_address_read(&a, bad[i].text, IPC_TO_CONNECT, &why), EINVAL);
		if (!strstr(why, bad[i].why))
			ck_abort_msg("%s: \"%s\", not \"%s\"", bad[i].text, why, bad[i].why);
	}
}

/* The longest that fits, and one more. */
TEST(lengths_are_minded)
{
	char text[400], long_host[400];
	const size_t most = sizeof((struct sockaddr_un *)0)->sun_path - 1;
	struct ipc_address a;
	const char *why;

	snprintf(text, sizeof text, "unix:///%0*d", (int)most - 1, 0);
	a = read_one(text, IPC_TO_CONNECT);
	ck_assert_uint_eq(strlen(a.un.sun_path), most);
	snprintf(text, sizeof text, "unix:///%0*d", (int)most, 0);
	must_fail(ipc_address_read(&a, text, IPC_TO_CONNECT, &why), EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "too long"));
	snprintf(text, sizeof text, "unix:@%0*d", (int)most, 0);
	must_fail(ipc_address_read(&a, text, IPC_TO_CONNECT, &why), EINVAL);
	snprintf(long_host, sizeof long_host, "tcp://%0*d:80", IPC_HOST_MOST, 0);
	read_one(long_host, IPC_TO_CONNECT);
	snprintf(long_host, sizeof long_host, "tcp://%0*d:80", IPC_HOST_MOST + 1, 0);
	must_fail(ipc_address_read(&a, long_host, IPC_TO_CONNECT, NULL), EINVAL);
}

static void expect_written(const void *sa, size_t len, const char *text)
{
	char buf[IPC_ADDRESS_SIZE];

	ipc_address_write(buf, sizeof buf, sa, (socklen_t)len);
	ck_assert_str_eq(buf, text);
}

TEST(addresses_of_sockets_are_written_as_they_are_read)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(80)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	const size_t head = offsetof(struct sockaddr_un, sun_path);

	must(inet_pton(AF_INET, "192.0.2.7", &in.sin_addr));
	expect_written(&in, sizeof in, "tcp://192.0.2.7:80");
	must(inet_pton(AF_INET6, "2001:db8::7", &in6.sin6_addr));
	expect_written(&in6, sizeof in6, "tcp://[2001:db8::7]:443");
	must(inet_pton(AF_INET6, "::ffff:192.0.2.7", &in6.sin6_addr));
	expect_written(&in6, sizeof in6, "tcp://192.0.2.7:443");
	expect_written(&un, head, "unix:");
	strcpy(un.sun_path, "/run/x.sock");
	expect_written(&un, sizeof un, "unix:///run/x.sock");
	memcpy(un.sun_path, "\0name", 5);
	expect_written(&un, head + 5, "unix:@name");
	memset(un.sun_path, 'x', sizeof un.sun_path);
	un.sun_path[0] = '/';
	{
		char buf[8];

		ipc_address_write(buf, sizeof buf, (struct sockaddr *)&un, sizeof un);
		ck_assert_str_eq(buf, "unix://");
	}
}

/* A peer chooses its name, and it is shown: on a terminal, in a log. */
TEST(the_name_of_a_peer_is_tame)
{
	static const char *const names[][2] = {
		{"na\nme", "na?me"},          /* C0 */
		{"a\033[2Jb\177", "a?[2Jb?"}, /* and DEL */
		{"a\xc2\x9b"
		 "2Jb",
		 "a??2Jb"}, /* C1 in UTF-8 */
		{"a\x9b"
		 "2Jb",
		 "a?2Jb"}, /* and as it is, which is no UTF-8 */
		{"\xe2\x80\xae"
		 "exe.txt",
		 "???exe.txt"},                           /* U+202E turns the direction */
		{"\xe2\x81\xa6x\xe2\x81\xa9", "???x???"}, /* U+2066, U+2069 */
		{"\xe2\x80\x8fx\xd8\x9c", "???x??"},      /* U+200F, U+061C */
		{"\xe2\x80\xa8", "???"},                  /* U+2028 ends a line */
		{"\xc0\xafx\xed\xa0\x80\xf0\x9f\x98", "??x??????"},
		{"caf\xc3\xa9 \xf0\x9f\x98\x80 \xd7\xa9", "caf\xc3\xa9 \xf0\x9f\x98\x80 \xd7\xa9"},
	};
	const size_t head = offsetof(struct sockaddr_un, sun_path);

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct sockaddr_un un = {.sun_family = AF_UNIX};
		socklen_t len = (socklen_t)(head + 1 + strlen(names[i][0]));
		char buf[IPC_ADDRESS_SIZE];
		int fd[2];

		memcpy(un.sun_path + 1, names[i][0], strlen(names[i][0]));
		fd[0] = must(socket(AF_UNIX, SOCK_STREAM, 0));
		fd[1] = must(socket(AF_UNIX, SOCK_STREAM, 0));
		must(bind(fd[0], (struct sockaddr *)&un, len));
		must(listen(fd[0], 1));
		must(connect(fd[1], (struct sockaddr *)&un, len));
		must(ipc_address_of_peer(fd[1], buf, sizeof buf));
		ck_assert_str_eq(buf + strlen("unix:@"), names[i][1]);
		close(fd[0]);
		close(fd[1]);
	}
}
