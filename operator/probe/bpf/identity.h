/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Which container a cgroup belongs to, and whether it is watched. Runs once for each cgroup and generation of the targets.
 */
#pragma once

#include "recent.h"

#define MAX_DEPTH 16
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
	char text[NAME_BYTES];
	__u32 length;
	__u32 level;
};

struct identity {
	__u64 id[4];
	__u64 pod[2];
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
 * pod<uid> (cgroupfs) or <parents>-pod<uid>.slice (systemd, '_' for '-'). The UID of a static pod is 32 digits without dashes.
 */
__noinline int pod_uid(const struct name *name, struct identity *found)
{
	if (!name || !found)
		return 0;
	__u32 end = name->length;
	if (ends(name, end, ".slice"))
		end -= 6;
	if (end < 35 || end >= NAME_BYTES)
		return 0;
	bool dashed = end >= 39 && AT(name, end - 39) == 'p' && AT(name, end - 38) == 'o' && AT(name, end - 37) == 'd';
	__u32 at = end - (dashed ? 36 : 32);
	if (AT(name, at - 3) != 'p' || AT(name, at - 2) != 'o' || AT(name, at - 1) != 'd')
		return 0;
	__u8 *uid = (__u8 *)found->pod;
	__u8 wrong = 0;
	for (__u32 i = 0; i < 16; i++) {
		/* 8-4-4-4-12 digits */
		if (dashed && (i == 4 || i == 6 || i == 8 || i == 10)) {
			char dash = AT(name, at);
			if (dash != '-' && dash != '_')
				return 0;
			at++;
		}
		__u8 high = DIGIT(name, at), low = DIGIT(name, at + 1);
		wrong |= high | low;
		uid[i] = high << 4 | low;
		at += 2;
	}
	return !(wrong & 0x80);
}

/* FNV-1a, begun with the level, so that the sum over a path's components stands for their order as well. */
__noinline __u64 component_hash(const struct name *name)
{
	if (!name)
		return 0;
	__u64 hash = 0xcbf29ce484222325ULL ^ ((__u64)name->level * 0x9e3779b97f4a7c15ULL);
	for (__u32 i = 0; i < NAME_BYTES; i++) {
		if (i >= name->length)
			break;
		hash = (hash ^ (__u8)name->text[i]) * 0x100000001b3ULL;
	}
	return hash;
}

/* The slot of an owner, or NO_SLOT; `free` becomes the first free one. */
__noinline __u32 look_for_slot(__u64 owner, __u32 *free)
{
	if (!free)
		return NO_SLOT;
	*free = NO_SLOT;
	for (__u32 i = 0; i < MAX_SLOTS; i++) {
		if (i >= slot_count)
			break;
		__u32 index = i;
		struct slot *slot = bpf_map_lookup_elem(&slots, &index);
		if (!slot)
			break;
		if (slot->owner == owner)
			return i;
		if (!slot->owner && *free == NO_SLOT)
			*free = i;
	}
	return NO_SLOT;
}

/* The slot of an owner, or a free one made the owner's. */
static __always_inline __u32 slot_of(__u64 owner, bool *fresh)
{
	__u32 free = NO_SLOT;
	__u32 found = look_for_slot(owner, &free);
	if (found != NO_SLOT)
		return found;
	struct slot *slot = bpf_map_lookup_elem(&slots, &free);
	if (!slot)
		return NO_SLOT;
	__u64 before = __sync_val_compare_and_swap(&slot->owner, 0, owner);
	*fresh = !before;
	/* Another processor was faster: with the same container, or with another one; then the next call tries again. */
	return !before || before == owner ? free : NO_SLOT;
}

struct place {
	struct identity identity;
	__u64 hashes[MAX_DEPTH];
	__u64 owner;
	__u32 depth;
	__u32 container_level; /* 0 for none */
	__u32 has_pod;
};

static __always_inline bool read_name(struct cgroup *cgroup, struct name *name)
{
	struct kernfs_node *node = FIELD(cgroup, kn);
	long length = bpf_probe_read_kernel_str(name->text, sizeof(name->text), FIELD(node, name));
	if (length <= 1 || length > NAME_BYTES)
		return false;
	name->length = length - 1;
	return true;
}

static __always_inline struct cgroup *above(struct cgroup *cgroup)
{
	struct cgroup_subsys_state *state = FIELD(cgroup, self.parent);
	return FIELD(state, cgroup);
}

/*
 * Walks to the root twice: first what each component hashes to and how deep the nearest container is, then that container's pod.
 * Nothing depends on an earlier step of a walk but numbers that the verifier need not tell apart.
 */
static __always_inline bool walk(struct cgroup *from, struct place *place)
{
	struct name name = {};
	struct cgroup *cgroup = from;
	int depth = FIELD(cgroup, level);
	if (depth < 0 || depth >= MAX_DEPTH)
		return false;
	place->depth = depth;
	__u32 containers = 0;
	for (int i = 0; i < MAX_DEPTH; i++) {
		int level = depth - i;
		if (level <= 0)
			break;
		if (!read_name(cgroup, &name))
			return false;
		name.level = level;
		place->hashes[level & (MAX_DEPTH - 1)] = component_hash(&name);
		containers |= container_id(&name, &place->identity) << level;
		cgroup = above(cgroup);
	}
	if (!containers)
		return true;
	cgroup = from;
	for (int i = 0; i < MAX_DEPTH; i++) {
		int level = depth - i;
		if (level <= 0 || containers & (1U << (level & 31)))
			break;
		cgroup = above(cgroup);
	}
	if (!read_name(cgroup, &name) || !container_id(&name, &place->identity))
		return false;
	place->owner = cgroup_id(cgroup);
	place->container_level = FIELD(cgroup, level);
	/* The root has an empty name. */
	place->has_pod = read_name(above(cgroup), &name) && pod_uid(&name, &place->identity);
	return true;
}

/* The target that wants the place: by container, by pod, or by a path above it. The last may make the owner a cgroup without an id. */
static __always_inline struct wanted *wanted_by(struct place *place)
{
	struct wanted *best = 0;
	struct target other = {};
	bool in_scope = !scope;
	if (place->container_level) {
		other.kind = 1;
		__builtin_memcpy(other.words, place->identity.id, sizeof(other.words));
		best = bpf_map_lookup_elem(&targets, &other);
		__builtin_memset(other.words, 0, sizeof(other.words));
	}
	if (!best && place->has_pod) {
		other.kind = 2;
		other.words[0] = place->identity.pod[0];
		other.words[1] = place->identity.pod[1];
		best = bpf_map_lookup_elem(&targets, &other);
		other.words[0] = other.words[1] = 0;
	}
	for (__u32 level = 1; level < MAX_DEPTH; level++) {
		if (level > place->depth)
			break;
		other.words[0] += place->hashes[level];
		if (other.words[0] == scope)
			in_scope = true;
		if (best)
			continue;
		other.kind = 4;
		best = bpf_map_lookup_elem(&targets, &other);
		if (best) {
			place->owner = other.words[0] | 1ULL << 63;
			place->container_level = level;
			place->has_pod = 0;
			continue;
		}
		other.kind = 3;
		if (level < place->container_level)
			best = bpf_map_lookup_elem(&targets, &other);
	}
	return in_scope ? best : 0;
}

static __always_inline void describe(struct slot *slot, struct place *place, struct wanted *wanted)
{
	slot->seen_at = bpf_ktime_get_ns();
	slot->flags = 0;
	/* A cgroup that is watched by its path has no id. */
	if (!(place->owner >> 63)) {
		__builtin_memcpy(slot->id, place->identity.id, sizeof(slot->id));
		slot->flags |= SLOT_HAS_ID;
	}
	if (place->has_pod) {
		__builtin_memcpy(slot->pod, place->identity.pod, sizeof(slot->pod));
		slot->flags |= SLOT_HAS_POD;
	}
}

/*
 * What a cgroup is, remembered for the calls to come. `made` says that it is being made now. Returns false where it is not watched.
 */
static __noinline int classify(struct cgroup *cgroup, __u32 generation, int made, struct known *out)
{
	struct place place = {};
	out->generation = generation;
	out->slot = NO_SLOT;
	out->mode = 0;
	if (!walk(cgroup, &place))
		lost(LOSS_TOO_DEEP);
	struct wanted *wanted = place.depth ? wanted_by(&place) : 0;
	if (wanted) {
		bool fresh = false;
		__u32 index = slot_of(place.owner, &fresh);
		struct slot *slot = bpf_map_lookup_elem(&slots, &index);
		if (!slot) {
			/* Not remembered: a slot may become free. */
			lost(LOSS_NO_SLOT);
			return 0;
		}
		if (fresh) {
			describe(slot, &place, wanted);
			if (made && place.container_level == place.depth)
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
		out->slot = index;
		out->mode = wanted->mode;
	}
	__u64 id = cgroup_id(cgroup);
	if (bpf_map_update_elem(&cgroups, &id, out, BPF_ANY))
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
