/* A list of peers, the oldest first, where any of them can leave. The chain itself is a link; an empty one links to itself. */
#ifndef IPC_NET_CHAIN_H
#define IPC_NET_CHAIN_H

struct ipc_chain {
	struct ipc_chain *next, *prev;
};

static inline void ipc_chain_init(struct ipc_chain *chain)
{
	chain->next = chain->prev = chain;
}

static inline void ipc_chain_add(struct ipc_chain *chain, struct ipc_chain *link)
{
	link->next = chain;
	link->prev = chain->prev;
	link->prev->next = link;
	link->next->prev = link;
}

static inline void ipc_chain_leave(struct ipc_chain *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
}

#endif
