/*
 * Functions of other libraries that a forked child is the first to call. To find one when it is called, the child's dynamic linker reads
 * and writes a dozen pages, each of which is a page fault in each child. So these are found when the library is loaded.
 */
#ifndef IPC_OS_EAGER_H
#define IPC_OS_EAGER_H

#if defined(__has_attribute)
#if __has_attribute(noplt)
#define IPC_EAGER(function) extern __typeof__(function) function __attribute__((noplt))
#endif
#endif
#ifndef IPC_EAGER
#define IPC_EAGER(function) extern __typeof__(function) function
#endif

#endif
