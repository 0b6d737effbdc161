/* The table of works: see table.h. A line is who, the program and its case, and the target of the ratio if there is one. */
#include <stddef.h>

#include "bench/table.h"

#define BY_HAND "by hand, a 32 KiB buffer"
#define BUFFEREVENTS "libevent bufferevents"

struct work bench_table[] = {
	{"64 B one way, socket pair",
	 MILLIONS,
	 {
		 {.who = "aioipc, callbacks", .program = "aioipc", .measures = "small-pair"},
		 {.who = BY_HAND, .program = "raw", .measures = "small-pair", .target = 0.5},
		 {.who = BUFFEREVENTS, .program = "libevent", .measures = "small", .target = 2.5},
		 {.who = "libzmq", .program = "libzmq", .measures = "small", .target = 8},
		 {.who = "libuv", .program = "libuv", .measures = "small"},
		 {.who = "nng", .program = "nng", .measures = "small"},
	 }},
	{"64 B one way, pipe",
	 MILLIONS,
	 {
		 {.who = "aioipc, callbacks", .program = "aioipc", .measures = "small-pipe"},
		 {.who = BY_HAND, .program = "raw", .measures = "small-pipe", .target = 0.5},
	 }},
	{"64 B one way, blocking",
	 MILLIONS,
	 {
		 {.who = "aioipc, corked send, recv", .program = "aioipc", .measures = "small-blocking"},
		 {.who = BY_HAND, .program = "raw", .measures = "small-pair"},
	 }},
	{"\"is\" of 64 B one way",
	 MILLIONS,
	 {
		 {.who = "aioipc, typed", .program = "aioipc", .measures = "typed-is"},
		 {.who = "aioipc, 64 B of bytes",
		  .program = "aioipc",
		  .measures = "small-pair",
		  .target = 0.5},
	 }},
	{"\"iUs\" of 64 B one way",
	 MILLIONS,
	 {
		 {.who = "aioipc, typed", .program = "aioipc", .measures = "typed-iUs"},
		 {.who = "aioipc, 64 B of bytes", .program = "aioipc", .measures = "small-pair"},
	 }},
	{"\"A(i)\" of 1000 one way",
	 GIGABYTES,
	 {
		 {.who = "aioipc, typed", .program = "aioipc", .measures = "typed-ints"},
		 {.who = "raw write, read of 64 KiB", .program = "raw", .measures = "bulk-pair"},
	 }},
	{"round trip, blocking, pair",
	 MICROSECONDS,
	 {
		 {.who = "aioipc", .program = "aioipc", .measures = "trip-blocking-pair"},
		 {.who = "raw write, read",
		  .program = "raw",
		  .measures = "trip-blocking-pair",
		  .target = 1.10},
	 }},
	{"round trip, blocking, pipes",
	 MICROSECONDS,
	 {
		 {.who = "aioipc", .program = "aioipc", .measures = "trip-blocking-pipes"},
		 {.who = "raw write, read",
		  .program = "raw",
		  .measures = "trip-blocking-pipes",
		  .target = 1.10},
	 }},
	{"round trip, loop, pair",
	 MICROSECONDS,
	 {
		 {.who = "aioipc on a base", .program = "aioipc", .measures = "trip-base-pair"},
		 {.who = "raw epoll", .program = "raw", .measures = "trip-epoll-pair", .target = 1.10},
		 {.who = BUFFEREVENTS, .program = "libevent", .measures = "trip"},
		 {.who = "libuv", .program = "libuv", .measures = "trip"},
		 {.who = "libzmq", .program = "libzmq", .measures = "trip"},
		 {.who = "nng", .program = "nng", .measures = "trip"},
	 }},
	{"round trip, loop, pipes",
	 MICROSECONDS,
	 {
		 {.who = "aioipc on a base", .program = "aioipc", .measures = "trip-base-pipes"},
		 {.who = "raw epoll", .program = "raw", .measures = "trip-epoll-pipes", .target = 1.10},
	 }},
	{"round trip, spin 20 us, pair",
	 MICROSECONDS,
	 {
		 {.who = "aioipc, blocking", .program = "aioipc", .measures = "trip-spin-pair"},
		 {.who = "raw epoll", .program = "raw", .measures = "trip-epoll-pair", .target = 0.5},
	 }},
	{"round trip, spin 20 us, pipes",
	 MICROSECONDS,
	 {
		 {.who = "aioipc, blocking", .program = "aioipc", .measures = "trip-spin-pipes"},
		 {.who = "raw epoll", .program = "raw", .measures = "trip-epoll-pipes", .target = 0.5},
	 }},
	{"64 KiB one way, socket pair",
	 GIGABYTES,
	 {
		 {.who = "aioipc, callbacks", .program = "aioipc", .measures = "bulk-pair"},
		 {.who = "raw write, read", .program = "raw", .measures = "bulk-pair", .target = 0.9},
		 {.who = BUFFEREVENTS, .program = "libevent", .measures = "bulk"},
		 {.who = "libuv", .program = "libuv", .measures = "bulk"},
		 {.who = "libzmq", .program = "libzmq", .measures = "bulk"},
		 {.who = "nng", .program = "nng", .measures = "bulk"},
	 }},
	{"64 KiB one way, pipe",
	 GIGABYTES,
	 {
		 {.who = "aioipc, callbacks", .program = "aioipc", .measures = "bulk-pipe"},
		 {.who = "raw write, read", .program = "raw", .measures = "bulk-pipe", .target = 0.9},
	 }},
	{"64 KiB by reference, pair",
	 GIGABYTES,
	 {
		 {.who = "aioipc, one message", .program = "aioipc", .measures = "bulk-msg-pair"},
		 {.who = "raw write, read", .program = "raw", .measures = "bulk-pair"},
	 }},
	{"64 KiB by reference, pipe",
	 GIGABYTES,
	 {
		 {.who = "aioipc, one message", .program = "aioipc", .measures = "bulk-msg-pipe"},
		 {.who = "raw write, read", .program = "raw", .measures = "bulk-pipe"},
	 }},
	{"1000 children with a pair",
	 MICROSECONDS,
	 {
		 {.who = "aioproc start, join", .program = "aioipc", .measures = "children"},
		 {.who = "raw fork, waitpid", .program = "raw", .measures = "children"},
	 }},
	{.name = NULL},
};
