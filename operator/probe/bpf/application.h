/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Which tasks without a filter belong to a container's application. A runtime that runs a command in a container (kubectl exec, an
 * exec probe) puts a process of its own into the container's cgroup first, and that one's calls are none of the application's. What
 * tells them apart is how a task came to be, not what it is called.
 */
#pragma once

#include "identity.h"

static __always_inline struct slot *slot_at(__u32 index)
{
	return bpf_map_lookup_elem(&slots, &index);
}

#ifdef PORTCULLIS_RAW
/* Without task storage nothing can be said of one task: all of them count once the application has begun. */
static __always_inline bool belongs(struct task_struct *task, struct slot *slot)
{
	return slot->now_at || slot->flags & SLOT_STARTED;
}

static __always_inline void admit(struct task_struct *task, struct slot *slot)
{
	slot->flags |= SLOT_STARTED;
}

/* Nor which task a runtime put there. */
static __always_inline bool is_native(struct task_struct *task, struct slot *slot)
{
	return true;
}

static __always_inline void adopt(struct task_struct *task, struct slot *slot)
{
}
#else
/* What a task is not known as stays as it is where that is 0. */
static __always_inline void mark(struct task_struct *task, __u64 instance, __u64 native)
{
	struct application *of = bpf_task_storage_get(&applications, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (of) {
		if (instance)
			of->instance = instance;
		if (native)
			of->native = native;
	} else if (instance) {
		lost(LOSS_UNMARKED);
	}
}

/* A task that was admitted, a descendant of one, or one that was there before a watch of what runs already. */
static __always_inline bool belongs(struct task_struct *task, struct slot *slot)
{
	struct application *of = bpf_task_storage_get(&applications, task, 0, 0);
	return (of && of->instance == slot->seen_at) || FIELD(task, start_time) < slot->now_at;
}

static __always_inline void admit(struct task_struct *task, struct slot *slot)
{
	mark(task, slot->seen_at, 0);
}

/* Whether a task descends from the container's first program, or from one that was there before the watch. */
static __always_inline bool is_native(struct task_struct *task, struct slot *slot)
{
	struct application *of = bpf_task_storage_get(&applications, task, 0, 0);
	return (of && of->native == slot->seen_at) || (!(slot->flags & SLOT_WHOLE) && FIELD(task, start_time) < slot->seen_at);
}

/* The task is the container's first program. */
static __always_inline void adopt(struct task_struct *task, struct slot *slot)
{
	mark(task, 0, slot->seen_at);
}
#endif

/*
 * Whether the program that a task has just begun is the application's: a runtime's own programs share the mounts of the process that
 * started them, and what it starts in a container does not.
 */
static __always_inline bool begins(struct task_struct *task, __u64 mode)
{
	if (!(mode & MODE_OWN_MOUNTS))
		return true;
	struct nsproxy *mine = FIELD(task, nsproxy);
	struct task_struct *parent = FIELD(task, real_parent);
	struct nsproxy *theirs = FIELD(parent, nsproxy);
	return FIELD(mine, mnt_ns) != FIELD(theirs, mnt_ns);
}

/* Whether the first program that is seen is the first there was. In a container that ran before, it may be an exec probe's. */
static __always_inline bool first_is_seen(struct slot *slot)
{
	return slot->flags & SLOT_WHOLE || !(slot->flags & SLOT_HAS_ID || slot->now_at);
}
