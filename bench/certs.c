/* See certs.h. */
#include "bench/certs.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"

static char folder[] = "/tmp/aioipc-bench.XXXXXX";

static void remove_folder(void)
{
	char line[100];

	snprintf(line, sizeof line, "rm -rf %s", folder);
	must(system(line) == 0 ? 0 : -1, "rm");
}

const char *certs_make(void)
{
	char line[1200];

	must_have(mkdtemp(folder), "mkdtemp");
	atexit(remove_folder);
	snprintf(line, sizeof line,
		 "cd %s && umask 077 && k='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes' && exec "
		 "2>/dev/null && "
		 "openssl req -x509 $k -keyout ca.key -out ca.pem -days 2 -subj /CN=ca "
		 "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign && "
		 "openssl req $k -keyout key -out csr -subj /CN=both && echo subjectAltName=IP:127.0.0.1 "
		 ">san && "
		 "openssl x509 -req -in csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san "
		 "-out crt && "
		 "cat crt key >both.pem",
		 folder);
	must(system(line) == 0 ? 0 : -1, "openssl");
	return folder;
}
