/* A server of Redis or Valkey for the measuring programs, in a folder of its own, on a unix socket. It ends with the program. */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

struct server {
	char dir[32];
	char path[48]; /* of its socket */
	long pid;
};

/* Without one here, the program ends with a word on stderr. */
void server_start(struct server *s);
void server_stop(struct server *s);

#endif
