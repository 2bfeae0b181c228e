/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Which container a cgroup belongs to, and whether it is watched. Runs once for each cgroup and generation of the targets.
 *
 * A container that may make cgroups may give them any name, so whatever is below a container is the container's: the outermost
 * pair of a pod's cgroup and a container's directly below it decides, and where there is no pair the outermost container.
 * src/cgroups.rs has the same rule for user space.
 */
#pragma once

#include "recent.h"

/* The levels whose names are read, the root's among them: the node's own part of a path is far shorter. */
#define MAX_DEPTH 16
/* The levels below those that are passed over. */
#define MAX_BELOW 1024
#define NAME_BYTES 128

static __always_inline struct cgroup *cgroup_of(struct task_struct *task)
{
	struct css_set *set = FIELD(task, cgroups);
	if (default_hierarchy)
		return FIELD(set, dfl_cgrp);
	struct cgroup_subsys_state *state =
		FIELD(set, subsys[bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id)]);
	return FIELD(state, cgroup);
}

/* cgroup_mkdir and cgroup_rmdir speak of every hierarchy; ids are unique in one alone. */
static __always_inline bool in_our_hierarchy(struct cgroup *cgroup)
{
	struct cgroup_root *root = FIELD(cgroup, root);
	/* The default hierarchy has the first id. */
	if (default_hierarchy)
		return !FIELD(root, hierarchy_id);
	return FIELD(root, hierarchy_id) &&
	       FIELD(root, subsys_mask) & (1U << bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id));
}

static __always_inline __u64 cgroup_id(struct cgroup *cgroup)
{
	struct kernfs_node *node = FIELD(cgroup, kn);
	return FIELD(node, id);
}

/* What a hexadecimal digit is worth, and one: a table has no branches for the verifier to follow. Capitals are no digits of an id. */
const volatile __u8 digits[256] = {
	['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
	['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

struct name {
	char text[NAME_BYTES] __attribute__((aligned(8)));
	__u32 length;
	__u32 level;
};

struct identity {
	__u64 id[4];
	__u64 pod[2];
	__u64 pod_kind; /* TARGET_POD, or TARGET_STATIC_POD */
};

/* The functions below are global, not static: the verifier then checks each once, by itself, and not at every place of use. */

#define AT(name, index) (name)->text[(index) & (NAME_BYTES - 1)]
/* 0xff for what is no digit. */
#define DIGIT(name, index) (__u8)(digits[(__u8)AT(name, index)] - 1)

static __always_inline bool ends(const struct name *name, __u32 end, const char *suffix)
{
	return end >= 6 && AT(name, end - 6) == suffix[0] && AT(name, end - 5) == suffix[1] &&
	       AT(name, end - 4) == suffix[2] && AT(name, end - 3) == suffix[3] && AT(name, end - 2) == suffix[4] &&
	       AT(name, end - 1) == suffix[5];
}

/*
 * 64 hexadecimal digits at the end, alone (cgroupfs driver) or as <runtime>-<id>.scope (systemd driver). conmon's scope has the id
 * of the container that it serves, but is no container.
 */
__noinline int container_id(const struct name *name, struct identity *found)
{
	if (!name || !found)
		return 0;
	__u32 end = name->length;
	if (ends(name, end, ".scope"))
		end -= 6;
	if (end < 64 || end >= NAME_BYTES)
		return 0;
	__u32 start = end - 64;
	if (start && AT(name, start - 1) != '-')
		return 0;
	if (start >= 7 && AT(name, start - 7) == 'c' && AT(name, start - 6) == 'o' && AT(name, start - 5) == 'n' &&
	    AT(name, start - 4) == 'm' && AT(name, start - 3) == 'o' && AT(name, start - 2) == 'n')
		return 0;
	__u8 *id = (__u8 *)found->id;
	__u8 wrong = 0;
	for (__u32 i = 0; i < 32; i++) {
		__u8 high = DIGIT(name, start + 2 * i), low = DIGIT(name, start + 2 * i + 1);
		wrong |= high | low;
		id[i] = high << 4 | low;
	}
	return !(wrong & 0x80);
}

/*
 * pod<uid> (cgroupfs) or <parents>-pod<uid>.slice (systemd, '_' for '-'). A static pod has 32 digits without dashes instead, a hash
 * of its manifest, and whoever knows one kind of name knows nothing of the other.
 */
__noinline int pod_uid(const struct name *name, struct identity *found)
{
	if (!name || !found)
		return 0;
	__u32 end = name->length;
	bool slice = ends(name, end, ".slice");
	if (slice)
		end -= 6;
	if (end < 35 || end >= NAME_BYTES)
		return 0;
	char dash = slice ? '_' : '-';
	bool dashed = end >= 39 && AT(name, end - 28) == dash;
	__u32 at = end - (dashed ? 36 : 32);
	if (AT(name, at - 3) != 'p' || AT(name, at - 2) != 'o' || AT(name, at - 1) != 'd')
		return 0;
	/* Nothing but a slice's parents is in front. */
	if (at > 3 && (!slice || AT(name, at - 4) != '-'))
		return 0;
	__u8 *uid = (__u8 *)found->pod;
	__u8 wrong = 0;
	for (__u32 i = 0; i < 16; i++) {
		/* 8-4-4-4-12 digits */
		if (dashed && (i == 4 || i == 6 || i == 8 || i == 10)) {
			if (AT(name, at) != dash)
				return 0;
			at++;
		}
		__u8 high = DIGIT(name, at), low = DIGIT(name, at + 1);
		wrong |= high | low;
		uid[i] = high << 4 | low;
		at += 2;
	}
	found->pod_kind = dashed ? TARGET_POD : TARGET_STATIC_POD;
	return !(wrong & 0x80);
}

#define ROTATE(word, by) ((word) << (by) | (word) >> (64 - (by)))
#define SIP_ROUND                                                                                \
	do {                                                                                     \
		v0 += v1;                                                                        \
		v1 = ROTATE(v1, 13) ^ v0;                                                        \
		v0 = ROTATE(v0, 32);                                                             \
		v2 += v3;                                                                        \
		v3 = ROTATE(v3, 16) ^ v2;                                                        \
		v0 += v3;                                                                        \
		v3 = ROTATE(v3, 21) ^ v0;                                                        \
		v2 += v1;                                                                        \
		v1 = ROTATE(v1, 17) ^ v2;                                                        \
		v2 = ROTATE(v2, 32);                                                             \
	} while (0)
#define SIP_ABSORB(word)                                                                         \
	do {                                                                                     \
		v3 ^= (word);                                                                    \
		SIP_ROUND;                                                                       \
		SIP_ROUND;                                                                       \
		v0 ^= (word);                                                                    \
	} while (0)

/*
 * SipHash-2-4 of the level and the name, under a key that nobody knows who may choose names. With the level in it, the sum over a
 * path's components stands for their order as well.
 */
__noinline __u64 component_hash(const struct name *name)
{
	if (!name)
		return 0;
	__u64 v0 = path_key[0] ^ 0x736f6d6570736575ULL, v1 = path_key[1] ^ 0x646f72616e646f6dULL;
	__u64 v2 = path_key[0] ^ 0x6c7967656e657261ULL, v3 = path_key[1] ^ 0x7465646279746573ULL;
	__u32 length = name->length & (NAME_BYTES - 1);
	/* A compiler that knows this bound drops the loop's own, and the verifier of Linux 6.1 does not see one in the comparison. */
	asm volatile("" : "+r"(length));
	__u64 level = name->level;
	SIP_ABSORB(level);
	for (__u32 at = 0; at < NAME_BYTES; at += 8) {
		if (at + 8 > length)
			break;
		SIP_ABSORB(*(const __u64 *)(name->text + at));
	}
	/* The last word: what is left of the name, and how long it all was. */
	__u64 last = *(const __u64 *)(name->text + (length & (NAME_BYTES - 8)));
	last &= (1ULL << 8 * (length % 8)) - 1;
	last |= (__u64)(length + 8) << 56;
	SIP_ABSORB(last);
	v2 ^= 0xff;
	SIP_ROUND;
	SIP_ROUND;
	SIP_ROUND;
	SIP_ROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

/* What a search for a slot finds besides. */
struct search {
	__u64 group;
	__u32 free; /* the first free slot */
	__u32 left; /* how many are free */
	__u32 taken; /* how many are the group's */
	__u32 fresh; /* whether the free one was made the owner's */
};

/* The slot of an owner, or NO_SLOT. */
__noinline __u32 look_for_slot(__u64 owner, struct search *search)
{
	if (!search)
		return NO_SLOT;
	search->free = NO_SLOT;
	search->left = search->taken = 0;
	for (__u32 i = 0; i < MAX_SLOTS; i++) {
		if (i >= slot_count)
			break;
		__u32 index = i;
		struct slot *slot = bpf_map_lookup_elem(&slots, &index);
		if (!slot)
			break;
		if (slot->owner == owner)
			return i;
		if (!slot->owner) {
			search->left++;
			if (search->free == NO_SLOT)
				search->free = i;
		} else if (slot->group == search->group) {
			search->taken++;
		}
	}
	return NO_SLOT;
}

/*
 * The slot of an owner, or a free one made the owner's; none where there is none. A group may take twice as many as are left: however many
 * one has, there is room for the next.
 */
static __always_inline struct slot *slot_of(__u64 owner, __u64 group, struct search *search, __u32 *index)
{
	*search = (struct search){ .group = group };
	*index = look_for_slot(owner, search);
	if (*index != NO_SLOT)
		return bpf_map_lookup_elem(&slots, index);
	if (group && search->taken >= 2 * search->left)
		return 0;
	*index = search->free;
	struct slot *slot = bpf_map_lookup_elem(&slots, index);
	if (!slot)
		return 0;
	__u64 before = __sync_val_compare_and_swap(&slot->owner, 0, owner);
	search->fresh = !before;
	/* Another processor was faster: with the same container, or with another one; then the next call tries again. */
	return !before || before == owner ? slot : 0;
}

struct place {
	struct identity identity;
	__u64 hashes[MAX_DEPTH];
	__u64 owner;
	__u32 level; /* the cgroup's own */
	__u8 depth; /* how many levels were read */
	__u8 scope_level; /* 0 where the scope is the whole machine */
	__u8 container_level; /* 0 for none */
	__u8 has_pod;
};

/*
 * What is needed at one time or another while a place is looked at. Up to Linux 6.12 the stacks of a program and of all that it calls
 * have 512 bytes together, each rounded up to 32.
 */
union scratch {
	struct name name;
	struct target target;
	struct search search;
	struct uid uid;
	__u64 cgroup;
};

static __always_inline bool read_name(struct cgroup *cgroup, struct name *name)
{
	struct kernfs_node *node = FIELD(cgroup, kn);
	long length = bpf_probe_read_kernel_str(name->text, sizeof(name->text), FIELD(node, name));
	if (length <= 1 || length > NAME_BYTES)
		return false;
	/* What fills all bytes may be longer: no pod, no container, and no path that can be named. */
	name->length = length == NAME_BYTES ? 0 : length - 1;
	return true;
}

static __always_inline struct cgroup *above(struct cgroup *cgroup)
{
	struct cgroup_subsys_state *state = FIELD(cgroup, self.parent);
	return FIELD(state, cgroup);
}

/* The level of the scope, if the place is in it. */
static __always_inline bool in_scope(struct place *place)
{
	__u64 sum = 0;
	if (!scope)
		return true;
	for (__u32 level = 1; level < MAX_DEPTH; level++) {
		if (level > place->depth)
			break;
		sum += place->hashes[level];
		if (sum == scope) {
			place->scope_level = level;
			return true;
		}
	}
	return false;
}

/* The cgroup above one, or itself, whose level's bit is set. */
static __always_inline struct cgroup *climb(struct cgroup *cgroup, int depth, __u32 to)
{
	for (int i = 0; i < MAX_DEPTH; i++) {
		int level = depth - i;
		if (level <= 0 || to & (1U << (level & (MAX_DEPTH - 1))))
			break;
		cgroup = above(cgroup);
	}
	return cgroup;
}

static __always_inline struct wanted *wanted_by_id(struct place *place, struct target *container)
{
	container->kind = TARGET_CONTAINER;
	__builtin_memcpy(container->words, place->identity.id, sizeof(container->words));
	return bpf_map_lookup_elem(&targets, container);
}

/*
 * Walks to the root twice: first what each component hashes to and which look like pods and containers, then the names of the
 * one that is the container. Nothing depends on an earlier step of a walk but numbers that the verifier need not tell apart.
 * Returns false where the cgroup is too deep or its names can't be read.
 */
static __always_inline bool walk(struct cgroup *from, struct place *place, union scratch *scratch)
{
	struct name *name = &scratch->name;
	int level = FIELD(from, level);
	if (level < 0)
		return false;
	place->level = level;
	/* What is that deep was made below a container. */
	for (int i = 0; i < MAX_BELOW; i++) {
		if (level < MAX_DEPTH)
			break;
		from = above(from);
		level--;
	}
	if (level >= MAX_DEPTH)
		return false;
	int depth = level;
	place->depth = depth;
	struct cgroup *cgroup = from;
	__u32 containers = 0, pods = 0;
	for (int i = 0; i < MAX_DEPTH; i++) {
		level = depth - i;
		if (level <= 0)
			break;
		if (!read_name(cgroup, name))
			return false;
		name->level = level;
		place->hashes[level & (MAX_DEPTH - 1)] = component_hash(name);
		containers |= container_id(name, &place->identity) << (level & (MAX_DEPTH - 1));
		pods |= pod_uid(name, &place->identity) << (level & (MAX_DEPTH - 1));
		cgroup = above(cgroup);
	}
	if (!in_scope(place))
		return true;
	__u32 below = ~0U << (place->scope_level & (MAX_DEPTH - 1)) << 1;
	containers &= below;
	__u32 pairs = (pods & below) << 1 & containers;
	/* The lowest bit is the outermost. */
	__u32 outer = containers & -containers, chosen = pairs ? pairs & -pairs : outer;
	if (!chosen)
		return true;
	/* A cluster in a container: where that is watched by its id, all in it is its own. */
	if (outer != chosen) {
		cgroup = climb(from, depth, outer);
		if (!read_name(cgroup, name) || !container_id(name, &place->identity))
			return false;
		if (wanted_by_id(place, &scratch->target)) {
			chosen = outer;
			pairs = 0;
		}
	}
	cgroup = climb(from, depth, chosen);
	if (!read_name(cgroup, name) || !container_id(name, &place->identity))
		return false;
	place->owner = cgroup_id(cgroup);
	place->container_level = FIELD(cgroup, level);
	place->has_pod = pairs && read_name(above(cgroup), name) && pod_uid(name, &place->identity);
	return true;
}

/* The target that wants the place: by container, by pod, or by a path above it. The last may make the owner a cgroup without an id. */
static __noinline struct wanted *wanted_by(struct place *place, struct target *other)
{
	struct wanted *best = 0;
	if (scope && !place->scope_level)
		return 0;
	if (place->container_level)
		best = wanted_by_id(place, other);
	__builtin_memset(other, 0, sizeof(*other));
	if (!best && place->has_pod) {
		other->kind = place->identity.pod_kind;
		other->words[0] = place->identity.pod[0];
		other->words[1] = place->identity.pod[1];
		best = bpf_map_lookup_elem(&targets, other);
		other->words[0] = other->words[1] = 0;
	}
	for (__u32 level = 1; level < MAX_DEPTH; level++) {
		if (best || level > place->depth)
			break;
		other->words[0] += place->hashes[level];
		other->kind = TARGET_CGROUP;
		best = bpf_map_lookup_elem(&targets, other);
		if (best) {
			place->owner = other->words[0] | 1ULL << 63;
			place->container_level = level;
			place->has_pod = 0;
			break;
		}
		other->kind = TARGET_BELOW;
		if (level < place->container_level)
			best = bpf_map_lookup_elem(&targets, other);
	}
	return best;
}

static __always_inline void describe(struct slot *slot, struct place *place, struct wanted *wanted)
{
	slot->seen_at = bpf_ktime_get_ns();
	slot->group = wanted->group;
	slot->flags = 0;
	/* A cgroup that is watched by its path has no id. */
	if (!(place->owner >> 63)) {
		__builtin_memcpy(slot->id, place->identity.id, sizeof(slot->id));
		slot->flags |= SLOT_HAS_ID;
	}
	if (place->has_pod) {
		__builtin_memcpy(slot->pod, place->identity.pod, sizeof(slot->pod));
		slot->flags |= SLOT_HAS_POD;
		if (place->identity.pod_kind == TARGET_STATIC_POD)
			slot->flags |= SLOT_STATIC_POD;
	}
}

/*
 * What a cgroup is, remembered for the calls to come. `made` says that it is being made now. Returns false where it is not watched.
 */
static __noinline int classify(struct cgroup *cgroup, __u32 generation, int made, struct known *out)
{
	struct place place = {};
	union scratch scratch = {};
	out->generation = generation;
	out->slot = NO_SLOT;
	out->mode = 0;
	/* What was not read to the root is nobody's. */
	if (!walk(cgroup, &place, &scratch)) {
		lost(LOSS_TOO_DEEP);
		place.depth = place.container_level = place.has_pod = 0;
	}
	struct wanted *wanted = wanted_by(&place, &scratch.target);
	if (wanted) {
		struct slot *slot = slot_of(place.owner, wanted->group, &scratch.search, &out->slot);
		__u32 fresh = scratch.search.fresh;
		if (!slot) {
			out->slot = NO_SLOT;
			/* Not remembered: a slot may become free. */
			lost(LOSS_NO_SLOT);
			struct group *of = bpf_map_lookup_elem(&groups, &wanted->group);
			if (of)
				__sync_fetch_and_add(&of->no_room, 1);
			return 0;
		}
		if (fresh) {
			describe(slot, &place, wanted);
			if (made && place.container_level == place.level)
				slot->flags |= SLOT_WHOLE;
		}
		/* Where tasks without a filter are wanted only now, the first program may have gone by unseen. */
		if (!fresh && !slot->exec_at && wanted->mode & ~slot->mode & (MODE_FROM_EXEC | MODE_NOW))
			slot->flags &= ~SLOT_WHOLE;
		if (wanted->mode & MODE_NOW)
			slot->now_at = wanted->since;
		slot->tag = wanted->tag;
		slot->mode = wanted->mode;
		slot->flags |= SLOT_READY;
		out->mode = wanted->mode;
	}
	/* A static pod's name is a hash that says nothing of when its pod came. */
	if (!wanted && made && place.has_pod && place.container_level == place.level && place.identity.pod_kind == TARGET_POD) {
		scratch.uid.words[0] = place.identity.pod[0];
		scratch.uid.words[1] = place.identity.pod[1];
		place.owner = bpf_ktime_get_ns();
		bpf_map_update_elem(&strangers, &scratch.uid, &place.owner, BPF_NOEXIST);
	}
	scratch.cgroup = cgroup_id(cgroup);
	if (bpf_map_update_elem(&cgroups, &scratch.cgroup, out, BPF_ANY))
		lost(LOSS_UNCACHED);
	return 0;
}

/* Whose calls a cgroup's are. False where nobody asked. */
static __always_inline bool find(struct config *config, struct cgroup *cgroup, struct known *out)
{
	__u64 id = cgroup_id(cgroup);
	if (recall(id, config->generation, out))
		return out->slot != NO_SLOT;
	struct known *known = bpf_map_lookup_elem(&cgroups, &id);
	if (known && known->generation == config->generation) {
		*out = *known;
		remember(id, out);
	} else {
		classify(cgroup, config->generation, 0, out);
	}
	return out->slot != NO_SLOT;
}
