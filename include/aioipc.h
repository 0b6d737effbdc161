/*
 * aioipc: pipes, socket pairs and typed messages for programs that are made of several processes.
 *
 * This header gives everything but what needs <tpl.h>: that stands apart, in <aioipc/tpl.h>.
 * See aioipc(7) for the ideas and a whole program.
 */
#ifndef AIOIPC_H
#define AIOIPC_H

#include <aioipc/base.h>
#include <aioipc/call.h>
#include <aioipc/chan.h>
#include <aioipc/conn.h>
#include <aioipc/end.h>
#include <aioipc/hub.h>
#include <aioipc/link.h>
#include <aioipc/listener.h>
#include <aioipc/msg.h>
#include <aioipc/proc.h>
#include <aioipc/queue.h>
#include <aioipc/service.h>
#include <aioipc/stream.h>
#include <aioipc/task.h>
#include <aioipc/text.h>

#endif
