/*
 * What is in the file of a program that keeps statistics: a head, then rows of one size, one for each thing that lives. board.c writes it,
 * and the command `aioipc top` reads it; they share this header and no code. There is no lock: each number is stored whole, and two numbers
 * of a row may be of different moments. A reader must not trust what it finds: anybody may have written the file.
 */
#ifndef IPC_OWN_ROW_H
#define IPC_OWN_ROW_H

#include <stdatomic.h>
#include <stdint.h>

#define IPC_BOARD_MAGIC "aiorows1" /* another layout has another number */
#define IPC_BOARD_ROWS 4095        /* at most */
#define IPC_ROW_VALUES 17

struct ipc_board_head {
	char magic[8];          /* written last */
	_Atomic(uint32_t) rows; /* that the file has; it grows */
	uint32_t row_size;
	int64_t pid;
	uint64_t started;         /* of the process, as in /proc/PID/stat; 0: not known */
	_Atomic(uint64_t) births; /* things that were made so far */
	_Atomic(uint64_t) missed; /* of them, those that found no row */
	char program[64];
	char version[32];
	char unused[112];
};

enum ipc_row_kind {
	IPC_ROW_FREE,
	IPC_ROW_CONN,
	IPC_ROW_LINK,
	IPC_ROW_QUEUE,
	IPC_ROW_SERVICE,
	IPC_ROW_HUB,
	IPC_ROW_CHILD,
	IPC_ROW_STREAM
};

struct ipc_row {
	_Atomic(uint32_t) kind; /* enum ipc_row_kind; another number: it is being written */
	uint32_t unused;
	_Atomic(uint64_t) id;   /* a number of its own among all that the process made */
	_Atomic(int64_t) since; /* monotonic nanoseconds: when it was made */
	_Atomic(uint64_t) value[IPC_ROW_VALUES];
	char name[96];
};

/* The values of each kind. New ones go to the end of their kind. */

enum ipc_conn_row {
	IPC_CONN_ROW_FLAGS, /* enum ipc_conn_row_flags */
	IPC_CONN_ROW_END,   /* 0, or 1 and enum aioconn_cause */
	IPC_CONN_ROW_FD,
	IPC_CONN_ROW_PEER, /* its pid; 0: not known */
	IPC_CONN_ROW_MSGS_IN,
	IPC_CONN_ROW_MSGS_OUT,
	IPC_CONN_ROW_BYTES_IN,
	IPC_CONN_ROW_BYTES_OUT,
	IPC_CONN_ROW_HELD_IN,  /* bytes that came, and that the program has not taken */
	IPC_CONN_ROW_HELD_OUT, /* bytes that the program sent, and that have not left */
	IPC_CONN_ROW_LIMIT_IN,
	IPC_CONN_ROW_LIMIT_OUT,
	IPC_CONN_ROW_REFUSED,
	IPC_CONN_ROW_CALLS_IN,
	IPC_CONN_ROW_CALLS_OUT,
	IPC_CONN_ROW_UNANSWERED, /* of the peer's */
	IPC_CONN_ROW_IN_FLIGHT,  /* of ours */
};

enum ipc_conn_row_flags {
	IPC_CONN_ROW_PAUSED = 1,  /* by the program */
	IPC_CONN_ROW_BLOCKED = 2, /* the kernel takes no more: the peer does not read */
	IPC_CONN_ROW_CLOSING = 4,
};

enum ipc_link_row {
	IPC_LINK_ROW_STATE, /* enum aiolink_state */
	IPC_LINK_ROW_CONNECTIONS,
	IPC_LINK_ROW_MSGS_IN,
	IPC_LINK_ROW_MSGS_OUT,
	IPC_LINK_ROW_RESENT,
	IPC_LINK_ROW_UNSURE,
	IPC_LINK_ROW_REFUSED,
	IPC_LINK_ROW_DROPPED,
	IPC_LINK_ROW_CONFIRMED,
	IPC_LINK_ROW_ERROR,
};

enum ipc_queue_row {
	IPC_QUEUE_ROW_FLAGS, /* enum ipc_queue_row_flags */
	IPC_QUEUE_ROW_PUT,   /* messages, so far */
	IPC_QUEUE_ROW_GOT,
	IPC_QUEUE_ROW_BYTES_PUT, /* with the overhead of each message, as the limit counts */
	IPC_QUEUE_ROW_BYTES_GOT,
	IPC_QUEUE_ROW_MOST, /* 0: no limit */
	IPC_QUEUE_ROW_MOST_BYTES,
};

enum ipc_queue_row_flags {
	IPC_QUEUE_ROW_CLOSED = 1,
	IPC_QUEUE_ROW_GETTERS = 2, /* somebody waits for a message */
	IPC_QUEUE_ROW_PUTTERS = 4, /* somebody waits for room */
};

enum ipc_service_row {
	IPC_SERVICE_ROW_LIFE, /* 0 not started, 1 runs, 2 ended */
	IPC_SERVICE_ROW_KIND, /* enum aioservice_kind */
	IPC_SERVICE_ROW_WORKERS,
	IPC_SERVICE_ROW_BUSY,
	IPC_SERVICE_ROW_JOBS,
	IPC_SERVICE_ROW_FAILED,
	IPC_SERVICE_ROW_LOST,
	IPC_SERVICE_ROW_RETRIED,
	IPC_SERVICE_ROW_RESTARTS,
	IPC_SERVICE_ROW_LATE,
};

enum ipc_hub_row {
	IPC_HUB_ROW_MEMBERS,
	IPC_HUB_ROW_SLOW,
	IPC_HUB_ROW_MESSAGES,
	IPC_HUB_ROW_SENT,
	IPC_HUB_ROW_SKIPPED,
	IPC_HUB_ROW_CLOSED,
};

enum ipc_child_row {
	IPC_CHILD_ROW_PID,
	IPC_CHILD_ROW_END,    /* 0 it runs, 1 ended, 2 other code has waited for it */
	IPC_CHILD_ROW_STATUS, /* as of waitpid(2) */
};

enum ipc_stream_row {
	IPC_STREAM_ROW_STATE, /* enum aiolink_state */
	IPC_STREAM_ROW_CONNECTIONS,
	IPC_STREAM_ROW_SENT,
	IPC_STREAM_ROW_RESENT,
	IPC_STREAM_ROW_REFUSED,
	IPC_STREAM_ROW_RECEIVED,
	IPC_STREAM_ROW_AGAIN,
	IPC_STREAM_ROW_ACKED,
	IPC_STREAM_ROW_NACKED,
	IPC_STREAM_ROW_LATE,
	IPC_STREAM_ROW_DEAD,
	IPC_STREAM_ROW_VANISHED,
	IPC_STREAM_ROW_IN_WORK,
	IPC_STREAM_ROW_ERROR, /* that is wrong now, or was its end; 0 */
};

#endif
