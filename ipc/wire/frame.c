/* The bytes of the preface: see frame.h. */
#include "ipc/wire/frame.h"

const unsigned char ipc_preface[IPC_PREFACE_LEN] = {'A', 'I', 'P', 'C', IPC_WIRE_VERSION, 0, 0, 0};
