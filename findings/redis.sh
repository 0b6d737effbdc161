# A server of Redis 7.0.15 for those findings that need one, behind common.sh: Debian's redis-tools has it, under the name of a checker.
packages redis-tools=5:7.0.15-1~deb12u10 libatomic1=12.2.0-14+deb12u1 libjemalloc2=5.3.0-1 liblzf1=3.6-3
bin=$tmp/root/usr/bin
ln -s redis-check-rdb "$bin/redis-server"

cli() {
	"$bin/redis-cli" -s "$tmp/s" "$@"
}

# with these options besides
start() {
	"$bin/redis-server" --port 0 --unixsocket "$tmp/s" --dir "$tmp" --save '' "$@" >>"$tmp/log" 2>&1 &
	server=$!
	until [ "$(cli PING 2>/dev/null)" = PONG ]; do
		kill -0 "$server" || return 1
		sleep 0.05
	done
}

stop() {
	cli SHUTDOWN >/dev/null
	wait "$server"
}
