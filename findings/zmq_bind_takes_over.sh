#!/bin/sh
# Two servers bind the same ipc:// address. libzmq lets the second one have it without a word: the first goes on, and nobody new
# finds it. nng and nanomsg refuse the second, and libzmq does so too where the address is tcp://.
. "$(dirname "$0")/common.sh"
packages libzmq3-dev=4.3.4-6 libzmq5=4.3.4-6 libsodium23=1.0.18-1+deb12u1 libpgm-5.3-0=5.3.128~dfsg-2 libnorm1=1.5.9+dfsg-2
guess "second bind: EADDRINUSE over ipc, EADDRINUSE over tcp; a new client reaches the first server"
build -lzmq <<'END'
#include <errno.h>
#include <stdio.h>
#include <zmq.h>

static const char *told(int r)
{
	return r == 0 ? "works" : errno == EADDRINUSE ? "EADDRINUSE" : zmq_strerror(errno);
}

int main(int argc, char **argv)
{
	void *one = zmq_socket(zmq_ctx_new(), ZMQ_PULL), *other = zmq_socket(zmq_ctx_new(), ZMQ_PULL);
	void *client = zmq_socket(zmq_ctx_new(), ZMQ_PUSH);
	char buf[8], tcp[100];
	size_t len = sizeof tcp;
	int limit = 2000;

	zmq_bind(one, argv[1]);
	zmq_bind(one, "tcp://127.0.0.1:*");
	zmq_getsockopt(one, ZMQ_LAST_ENDPOINT, tcp, &len);
	printf("second bind: %s over ipc, ", told(zmq_bind(other, argv[1])));
	printf("%s over tcp; ", told(zmq_bind(other, tcp)));
	zmq_connect(client, argv[1]);
	zmq_send(client, "x", 1, 0);
	zmq_setsockopt(other, ZMQ_RCVTIMEO, &limit, sizeof limit);
	printf("a new client reaches the %s server\n", zmq_recv(other, buf, 8, 0) == 1 ? "second" : "first");
	fflush(stdout);
	_exit(0);
}
END
finding "second bind: works over ipc, EADDRINUSE over tcp; a new client reaches the second server" "$tmp/program" "ipc://$tmp/socket"
