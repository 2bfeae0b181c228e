/* SPDX-License-Identifier: GPL-2.0-only
 *
 * What the probe keeps. src/layout.rs reads these; a change of any layout needs a new SCHEMA there.
 */
#pragma once

#include "kernel.h"

#define NATIVE_CALLS 512
#define MAX_SLOTS 1024
#define MAX_VALUES 32
/* The number under which calls are counted together that have none in any table: one entry for each architecture. */
#define NO_CALL 0xffffffff
#define NO_SLOT 0xffffffff

/* Why a container is watched: bits of a target's mode. */
#define MODE_FROM_EXEC 1 /* the application's tasks count without a filter as well, from an execve on */
#define MODE_OWN_MOUNTS 2 /* and only an execve in a mount namespace other than the parent's is one that counts for that */
#define MODE_DENIALS 4 /* calls that the filter denies are wanted */
#define MODE_NOW 8 /* with MODE_FROM_EXEC: tasks that were there before the watch are the application's */

/* Bits of a slot's flags. */
#define SLOT_READY 1 /* the identity is filled in */
#define SLOT_HAS_ID 2
#define SLOT_HAS_POD 4
#define SLOT_WHOLE 8 /* its cgroup was made under our eyes: nothing of its start is missing */
#define SLOT_STARTED 16 /* MODE_FROM_EXEC, raw programs: the application runs */
#define SLOT_UNFILTERED 32 /* a task without a filter was counted */
#define SLOT_STATIC_POD 64 /* with SLOT_HAS_POD: the pod is a static one's hash */

/* Kinds of targets. */
#define TARGET_CONTAINER 1 /* a container's id */
#define TARGET_POD 2 /* a pod's UID */
#define TARGET_BELOW 3 /* the containers below the cgroup at a path */
#define TARGET_CGROUP 4 /* the cgroup at a path */
#define TARGET_STATIC_POD 5 /* the hash of a static pod's manifest */

/* Written by user space. */
struct config {
	__u32 epoch; /* whose programs work: a later load takes over by one store */
	__u32 generation; /* changes with the targets and so makes every struct known stale */
	__u32 unfiltered; /* how many targets have MODE_FROM_EXEC */
	__u32 pairing; /* changes when the exit program comes or goes, and so makes every struct pairing stale */
	__u64 path_key[2]; /* kept for the next load: the targets hold hashes under it */
};

struct target {
	__u64 kind; /* TARGET_* */
	__u64 words[4]; /* the bytes of an id, UID or hash, or a path's hash */
};

struct wanted {
	__u64 tag;
	__u64 mode;
	__u64 since; /* MODE_NOW: when the watch began; later than any task while that is not settled */
	__u64 group; /* whose slots it takes; 0 for nobody's */
};

/* The targets that share a part of the slots. */
struct group {
	__u64 no_room; /* calls of its containers that had no slot */
};

/* What a cgroup was found to be. */
struct known {
	__u32 generation;
	__u32 slot;
	__u64 mode;
};

struct slot {
	__u64 owner; /* the container's cgroup; 0 while the slot is free */
	__u64 seen_at;
	__u64 id[4];
	__u64 pod[2];
	__u64 flags;
	__u64 tag;
	__u64 mode;
	__u64 exec_at;
	__u64 main_tgid;
	__u64 exit_at;
	__u64 exit_code;
	__u64 removed_at;
	__u64 signals;
	__u64 handled;
	__u64 lost_calls;
	__u64 lost_values;
	__u64 lost_denials;
	__u64 last_new_at;
	__u64 now_at; /* the `since` of the target that it is watched for, if that has MODE_NOW */
	__u64 group;
	__u64 compat_at; /* when something was first counted in the table `compat`, and in `denied` */
	__u64 denied_at;
	__u64 others; /* entries of `others` that are its own, of `arg_values`, and of `logs` */
	__u64 values;
	__u64 logs;
	__u64 outside; /* signals that came from outside of the application, those that it ignores among them */
	__u64 told_at; /* when a handler last took one of those by which a log is asked to be opened anew */
	__u64 reopened_at; /* when a file was opened again after that */
	__u64 entered_at; /* when a program first ran in it that is none of the application's: an exec probe's, `kubectl exec`'s */
};

struct call {
	__u64 count;
	__u64 first_at;
};

struct calls {
	struct call native[NATIVE_CALLS];
};

/* What became of a call. */
enum outcome { MADE, DENIED, KILLED };

/* A call that no table has a place for. */
struct other {
	__u32 slot;
	__u32 arch;
	__u32 number;
	__u32 outcome;
};

/* A pod's. */
struct uid {
	__u64 words[2];
};

/* A value of an argument; the number of values kept of one argument stands under the same key in another map. */
struct argument {
	__u32 slot;
	__u16 number;
	__u8 index;
	__u8 denied;
};

struct value {
	struct argument argument;
	__u64 value;
};

struct values {
	__u64 kept;
	__u64 too_many;
};

/*
 * That a task belongs to a container's application: to which, by the time at which that was first seen. `native` is what descends from
 * the container's first program, or was there before the watch: a command that a runtime executes in the container is counted, and no
 * native.
 */
struct application {
	__u64 instance;
	__u64 native;
};

/* A file that a container opened to append to it, by what its path hashes to. */
struct log {
	__u64 slot;
	__u64 path;
};

/* Whether a task's latest entry was seen. */
struct pairing {
	__u32 pairing;
	__u32 slot;
	__u32 entered;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct target);
	__type(value, struct wanted);
} targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct known);
} cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct calls);
} calls SEC(".maps");

/* The same of the other architecture that the machine's programs may be of. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct calls);
} compat SEC(".maps");

/* Native calls that the filter denied and the task survived. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct calls);
} denied SEC(".maps");

/*
 * The hash maps below have room for the share of every slot, and no slot takes more than its share (claim_others, claim_value): a
 * container that fills its own takes nothing from another.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct other);
	__type(value, struct call);
} others SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, struct value);
	__type(value, struct call);
} arg_values SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct argument);
	__type(value, struct values);
} arg_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct group);
} groups SEC(".maps");

/* When each file was last opened. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct log);
	__type(value, __u64);
} logs SEC(".maps");

/* Pods of which a container's cgroup was made that nobody asked for, and when first: user space empties it while it is there. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct uid);
	__type(value, __u64);
} strangers SEC(".maps");

/* When user space last looked. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} alive SEC(".maps");

#ifndef PORTCULLIS_RAW
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct pairing);
} pairings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct application);
} applications SEC(".maps");
#endif

/* What no slot can account for. */
enum loss { LOSS_NO_SLOT, LOSS_TOO_DEEP, LOSS_UNCACHED, LOSS_PAIRING, LOSS_UNMARKED, LOSS_KINDS };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOSS_KINDS);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

/* Set by the loader. */
const volatile __u32 epoch = 0;
const volatile __u32 slot_count = 0;
/* A slot's shares of `others`, of `arg_values` and of `logs`. */
const volatile __u32 share_of_others = 0;
const volatile __u32 share_of_values = 0;
const volatile __u32 share_of_logs = 0;
const volatile __u32 default_hierarchy = 0;
const volatile __u64 scope = 0;
const volatile __u64 path_key[2] = {};
/* A bit for each argument whose values are kept, by native call. */
const volatile __u8 kept_arguments[NATIVE_CALLS] = {};

static __always_inline void lost(__u32 kind)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &kind);
	if (count)
		__sync_fetch_and_add(count, 1);
}

/* The configuration, if these programs are the ones at work. */
static __always_inline struct config *at_work(void)
{
	__u32 zero = 0;
	struct config *found = bpf_map_lookup_elem(&config, &zero);
	return found && found->epoch == epoch ? found : 0;
}
