/* Sockets in the file system, where somebody else plays with their paths. */
#include "tests/peers.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Called when the socket was just bound. */
static void (*when_bound)(void);

int __real_bind(int fd, const struct sockaddr *sa, socklen_t len);
int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len);

int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	int r = __real_bind(fd, sa, len);

	if (r == 0 && when_bound)
		when_bound();
	return r;
}

static char folder[64], path[80], lock[96], victim[80], aside[80], address[96];

static void make_folder(void)
{
	must(mkdtemp(strcpy(folder, "/tmp/aioipc-folder-XXXXXX")));
	snprintf(path, sizeof path, "%s/s", folder);
	snprintf(lock, sizeof lock, "%s.aioipc-lock", path);
	snprintf(victim, sizeof victim, "%s/victim", folder);
	snprintf(aside, sizeof aside, "%s/aside", folder);
	snprintf(address, sizeof address, "unix://%s", path);
	close(must(open(victim, O_CREAT | O_WRONLY, 0600)));
}

static void remove_folder(void)
{
	unlink(path);
	unlink(victim);
	unlink(aside);
	must(rmdir(folder)); /* nothing else was left */
}

static mode_t mode_of(const char *file)
{
	struct stat st;

	must(stat(file, &st));
	return st.st_mode & 07777;
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	(void)l;
	(void)arg;
	aioconn_abort(c);
}

static void put_link_in_place(void)
{
	must(rename(path, aside));
	must(symlink(victim, path));
}

static void put_file_in_place(void)
{
	must(rename(path, aside));
	must(link(victim, path));
}

/* Whose path it is by now is not touched: neither its mode, nor the file. */
static void expect_untouched(void (*swap)(void))
{
	struct aiolistener_options o = {.size = sizeof o, .mode = 0666};
	struct event_base *base = new_base();
	struct stat st;

	make_folder();
	umask(077);
	when_bound = swap;
	must_fail(aiolistener_new(address, base, &o, on_peer, NULL), EADDRINUSE);
	ck_assert_uint_eq(mode_of(victim), 0600);
	must(lstat(path, &st));
	remove_folder();
	event_base_free(base);
}

TEST(a_link_in_its_place_is_not_followed)
{
	expect_untouched(put_link_in_place);
}

TEST(a_file_in_its_place_is_left_alone)
{
	expect_untouched(put_file_in_place);
}

static void expect_mode(mode_t mode, mode_t mask)
{
	struct aiolistener_options o = {.size = sizeof o, .mode = mode};
	struct event_base *base = new_base();
	struct aiolistener *l;

	umask(mask);
	l = must(aiolistener_new(address, base, &o, on_peer, NULL));
	ck_assert_uint_eq(mode_of(path), mode);
	aiolistener_free(l);
	event_base_free(base);
}

static mode_t bound_with;

static void note_mode(void)
{
	bound_with = mode_of(path);
}

/* Nor is it ever wider than it was asked for, not even before it listens. */
TEST(the_mode_is_right_from_the_start)
{
	make_folder();
	when_bound = note_mode;
	expect_mode(0600, 0);
	ck_assert_uint_eq(bound_with, 0600);
	expect_mode(0660, 022);
	ck_assert_uint_eq(bound_with, 0640);
	expect_mode(0777, 077);
	remove_folder();
}

static void expect_service_at_once(void)
{
	struct event_base *base = new_base();
	struct aiolistener *l = must(aiolistener_new(address, base, NULL, on_peer, NULL));

	aiolistener_free(l);
	event_base_free(base);
}

/* A lock that could be another user's, here a file with a second name, is not
 * waited for, nor removed. */
TEST(the_locks_of_others_stop_nobody)
{
	struct stat st;
	int fd;

	make_folder();
	fd = must(open(lock, O_CREAT | O_RDWR | O_CLOEXEC, 0666));
	must(link(lock, aside));
	must(flock(fd, LOCK_EX));
	expect_service_at_once();
	must(lstat(lock, &st));
	close(fd);
	must(unlink(lock));
	must(symlink(victim, lock));
	expect_service_at_once();
	must(unlink(lock));
	must(mkdir(lock, 0700));
	expect_service_at_once();
	must(rmdir(lock));
	remove_folder();
}
