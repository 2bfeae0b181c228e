/* SPDX-License-Identifier: GPL-2.0-only
 *
 * What cgroups were found to be a moment ago. It spares nearly every call the look-up in `cgroups`, which is most of what finding
 * the container costs. Nothing is lost when a cgroup drives another one out.
 */
#pragma once

#include "maps.h"

/*
 * A cgroup is one word, which is read and written as a whole, at the place that the low 10 bits of its id name:
 *
 *   63      set
 *   62..41  bits 10 to 31 of the id: of the cgroups of a hierarchy that exist, no two have the same low 32 bits (fs/kernfs/dir.c)
 *   40..15  the generation's low 26 bits: a cgroup must be silent for exactly 67 million changes of the targets to be mistaken
 *   14..11  the mode
 *   10..0   the slot, or bit 10 for none
 */
#define RECENT 1024
#define RECENT_NONE (1ULL << 10)
#define RECENT_FOUND ((1ULL << 15) - 1)

static volatile __u64 recent[RECENT];

static __always_inline __u64 recent_key(__u64 id, __u32 generation)
{
	return 1ULL << 63 | (id >> 10 & ((1ULL << 22) - 1)) << 41 | (generation & ((1ULL << 26) - 1ULL)) << 15;
}

static __always_inline bool recall(__u64 id, __u32 generation, struct known *out)
{
	__u64 word = recent[id & (RECENT - 1)];
	if ((word & ~RECENT_FOUND) != recent_key(id, generation))
		return false;
	out->generation = generation;
	out->slot = word & RECENT_NONE ? NO_SLOT : word & (RECENT_NONE - 1);
	out->mode = word >> 11 & 0xf;
	return true;
}

static __always_inline void remember(__u64 id, const struct known *known)
{
	__u64 slot = known->slot == NO_SLOT ? RECENT_NONE : known->slot & (RECENT_NONE - 1);
	recent[id & (RECENT - 1)] = recent_key(id, known->generation) | (known->mode & 0xf) << 11 | slot;
}

/* A cgroup that goes: another one may get its id. */
static __always_inline void forget(__u64 id)
{
	recent[id & (RECENT - 1)] = 0;
}
