#!/bin/sh
# "At most one message waits on each side": how many can be sent while nobody receives? The library's threads go on moving messages
# into the kernel, which holds 278 small writes of a socket pair (see unix_pair_room.sh), so a limit of one is one of some hundreds.
. "$(dirname "$0")/common.sh"
packages libzmq3-dev=4.3.4-6 libzmq5=4.3.4-6 libsodium23=1.0.18-1+deb12u1 libpgm-5.3-0=5.3.128~dfsg-2 libnorm1=1.5.9+dfsg-2 \
	libnng-dev=1.5.2-2 libnng1=1.5.2-2 libmbedtls14=2.28.3-1 libmbedcrypto7=2.28.3-1 libmbedx509-1=2.28.3-1
guess "libzmq, both marks 1: less than 10; nng, no buffer: less than 10"
build -lzmq -lnng <<'END'
#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

static void *push;
static nng_socket pusher;

static int by_zmq(void)
{
	return zmq_send(push, "0123456789", 10, ZMQ_DONTWAIT) == 10;
}

static int by_nng(void)
{
	return nng_send(pusher, "0123456789", 10, NNG_FLAG_NONBLOCK) == 0;
}

/* Until it has refused for half a second. */
static const char *taken(int (*send)(void))
{
	int n = 0;

	for (int refused = 0; refused < 50; refused++)
		if (send()) {
			n++;
			refused = -1;
		} else {
			usleep(10000);
		}
	return n < 10 ? "less than 10" : n > 200 && n < 400 ? "200 to 400" : "some other number";
}

int main(int argc, char **argv)
{
	void *pull = zmq_socket(zmq_ctx_new(), ZMQ_PULL);
	int one = 1;
	nng_socket puller;

	push = zmq_socket(zmq_ctx_new(), ZMQ_PUSH);
	zmq_setsockopt(push, ZMQ_SNDHWM, &one, sizeof one);
	zmq_setsockopt(pull, ZMQ_RCVHWM, &one, sizeof one);
	zmq_bind(pull, argv[1]);
	zmq_connect(push, argv[1]);
	nng_pull0_open(&puller);
	nng_push0_open(&pusher);
	nng_listen(puller, argv[2], NULL, 0);
	nng_dial(pusher, argv[2], NULL, 0);
	printf("libzmq, both marks 1: %s; ", taken(by_zmq));
	printf("nng, no buffer: %s\n", taken(by_nng));
	fflush(stdout);
	_exit(0);
}
END
finding "libzmq, both marks 1: 200 to 400; nng, no buffer: 200 to 400" "$tmp/program" "ipc://$tmp/zmq" "ipc://$tmp/nng"
