/*
 * Images that no reader should trust, made while a test runs from ones that are well: what would bring down a reader is kept in
 * no file. Each damaged image lies in a block of exactly its size, so that the address sanitizer sees a byte too many.
 */
#ifndef TESTS_DAMAGE_H
#define TESTS_DAMAGE_H

#include <stddef.h>
#include <stdint.h>

typedef void damage_see(const unsigned char *image, size_t len, void *arg);

/*
 * Each of these is wrong for certain: another magic, every other byte of flags, every overall length that is not the true one
 * (near it, near 0, near 2^31 and 2^32, in the other byte order), every cut with the old length and with the right one, and more
 * bytes than it says.
 */
void damage_head(const void *image, size_t len, damage_see *see, void *arg);

/* The four bytes at @at as a count or length that can't be right, each of a list. */
void damage_word(const void *image, size_t len, size_t at, damage_see *see, void *arg);

/* Wrong or not, a reader has to bear it: each byte of the format another one, each four bytes behind it as damage_word(). */
void damage_values(const void *image, size_t len, damage_see *see, void *arg);

/* The same of @times changes at random, some of them several at once. The seed is told, for the log of a test that fails. */
void damage_at_random(const void *image, size_t len, unsigned times, uint32_t seed, damage_see *see,
		      void *arg);

#endif
