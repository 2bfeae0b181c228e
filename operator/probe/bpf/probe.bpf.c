// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts the system calls that containers make, by container, in the kernel. Nothing is sent anywhere: user space reads the maps
 * when it wants to know. docs/recording.md, 'What the probe sees and what it can't'.
 */
#include "application.h"

/* The kernel lets only programs under this licence use the helpers above. */
char LICENSE[] SEC("license") = "GPL";

static __always_inline bool count(struct call *call)
{
	bool fresh = !call->first_at;
	if (fresh)
		call->first_at = bpf_ktime_get_ns();
	__sync_fetch_and_add(&call->count, 1);
	return fresh;
}

/* Takes one more entry of a slot's share of a map. False where the slot has its share. */
static __always_inline bool claim(__u64 *taken, __u32 share)
{
	if (__sync_fetch_and_add(taken, 1) < share)
		return true;
	__sync_fetch_and_add(taken, -1);
	return false;
}

/* A new entry of `arg_values`, of the slot's share. */
static __always_inline bool claim_value(struct slot *slot, struct value *key)
{
	struct call first = { .count = 1, .first_at = bpf_ktime_get_ns() };
	if (!claim(&slot->values, share_of_values))
		return false;
	if (bpf_map_update_elem(&arg_values, key, &first, BPF_NOEXIST)) {
		__sync_fetch_and_add(&slot->values, -1);
		return false;
	}
	slot->last_new_at = first.first_at;
	return true;
}

static __noinline int note_value(__u32 slot, __u32 where, __u64 value)
{
	struct value key = { .argument = { .slot = slot, .number = where >> 16, .index = where >> 8, .denied = where }, .value = value };
	struct call *known = bpf_map_lookup_elem(&arg_values, &key);
	if (known) {
		count(known);
		return 0;
	}
	struct values *values = bpf_map_lookup_elem(&arg_counts, &key.argument);
	if (!values) {
		struct values none = {};
		bpf_map_update_elem(&arg_counts, &key.argument, &none, BPF_NOEXIST);
		values = bpf_map_lookup_elem(&arg_counts, &key.argument);
	}
	struct slot *of = slot_at(slot);
	if (!of)
		return 0;
	if (!values) {
		__sync_fetch_and_add(&of->lost_values, 1);
		return 0;
	}
	if (values->kept >= MAX_VALUES) {
		values->too_many = 1;
		return 0;
	}
	if (claim_value(of, &key)) {
		__sync_fetch_and_add(&values->kept, 1);
		return 0;
	}
	/* Another processor may have put it there meanwhile. */
	known = bpf_map_lookup_elem(&arg_values, &key);
	if (known) {
		count(known);
	} else {
		values->too_many = 1;
		__sync_fetch_and_add(&of->lost_values, 1);
	}
	return 0;
}

static __always_inline void note_arguments(struct pt_regs *regs, __u32 slot, __u64 number, __u32 denied)
{
	if (number >= NATIVE_CALLS)
		return;
	__u8 kept = kept_arguments[within(number, NATIVE_CALLS)];
	if (!kept)
		return;
	__u32 where = number << 16 | denied;
	if (kept & 1)
		note_value(slot, where, ARGUMENT_0(regs));
	if (kept & 2)
		note_value(slot, where | 1 << 8, ARGUMENT_1(regs));
	if (kept & 4)
		note_value(slot, where | 2 << 8, ARGUMENT_2(regs));
	if (kept & 8)
		note_value(slot, where | 3 << 8, ARGUMENT_3(regs));
	if (kept & 16)
		note_value(slot, where | 4 << 8, ARGUMENT_4(regs));
	if (kept & 32)
		note_value(slot, where | 5 << 8, ARGUMENT_5(regs));
}

/* A new entry of `others`, of the slot's share. */
static __always_inline struct call *claim_other(struct slot *slot, struct other *key)
{
	struct call none = {};
	if (!claim(&slot->others, share_of_others))
		return 0;
	if (bpf_map_update_elem(&others, key, &none, BPF_NOEXIST))
		__sync_fetch_and_add(&slot->others, -1);
	return bpf_map_lookup_elem(&others, key);
}

/* A call that no table has a place for. Those that no architecture knows are counted together: whoever makes numbers up fills nothing. */
static __noinline int note_other(__u32 slot, __u32 arch, __u32 number, __u32 outcome)
{
	struct other key = { .slot = slot, .arch = arch, .number = number, .outcome = outcome };
	if (number >= NATIVE_CALLS && !OUTSIDE_OF_TABLES(arch, number))
		key.number = NO_CALL;
	struct slot *of = slot_at(slot);
	if (!of)
		return 0;
	struct call *call = bpf_map_lookup_elem(&others, &key);
	if (!call)
		call = claim_other(of, &key);
	if (!call) {
		__sync_fetch_and_add(outcome == MADE ? &of->lost_calls : &of->lost_denials, 1);
		return 0;
	}
	if (count(call) && outcome == MADE)
		of->last_new_at = call->first_at;
	return 0;
}

static __noinline int note_compat(__u32 slot, __u64 number)
{
	struct calls *of = bpf_map_lookup_elem(&compat, &slot);
	struct slot *header = slot_at(slot);
	if (!of || !header)
		return 0;
	struct call *call = &of->native[within(number, NATIVE_CALLS)];
	if (count(call)) {
		header->last_new_at = call->first_at;
		if (!header->compat_at)
			header->compat_at = call->first_at;
	}
	return 0;
}

#ifndef PORTCULLIS_RAW
static __noinline int note_denial(__u32 slot, __u32 arch, __u64 number)
{
	if (arch != NATIVE_ARCH || number >= NATIVE_CALLS)
		return note_other(slot, arch, number, DENIED);
	struct calls *of = bpf_map_lookup_elem(&denied, &slot);
	struct slot *header = slot_at(slot);
	if (!of || !header)
		return 0;
	struct call *call = &of->native[within(number, NATIVE_CALLS)];
	if (count(call) && !header->denied_at)
		header->denied_at = call->first_at;
	return 0;
}
#endif

static __always_inline void note_call(__u32 slot, __u32 arch, __u64 number)
{
	if (arch == COMPAT_ARCH && number < NATIVE_CALLS) {
		note_compat(slot, number);
		return;
	}
	if (arch != NATIVE_ARCH || number >= NATIVE_CALLS) {
		note_other(slot, arch, number, MADE);
		return;
	}
	struct calls *of = bpf_map_lookup_elem(&calls, &slot);
	if (!of)
		return;
	struct call *call = &of->native[within(number, NATIVE_CALLS)];
	if (count(call)) {
		struct slot *header = slot_at(slot);
		if (header)
			header->last_new_at = call->first_at;
	}
}

/* Whether a task's calls count: those that a filter sees, or all of a task of the application. */
static __always_inline bool counts(const struct known *known, struct task_struct *task, int filter)
{
	if (filter == SECCOMP_MODE_FILTER)
		return true;
	if (!(known->mode & MODE_FROM_EXEC))
		return false;
	struct slot *slot = slot_at(known->slot);
	if (!slot || !belongs(task, slot))
		return false;
	if (!(slot->flags & SLOT_UNFILTERED))
		slot->flags |= SLOT_UNFILTERED;
	return true;
}

PROGRAM("sys_enter")
int enter(__u64 *context)
{
	struct config *config = at_work();
	if (!config)
		return 0;
	struct task_struct *task = current_task();
	int filter = FIELD(task, seccomp.mode);
	if (filter != SECCOMP_MODE_FILTER && !config->unfiltered)
		return 0;
	struct known known;
	if (!find(config, cgroup_of(task), &known) || !counts(&known, task, filter))
		return 0;
	struct pt_regs *regs = (struct pt_regs *)context[0];
	__u32 arch = arch_of(task);
	/* The kernel keeps 32 bits of a number, and so does a filter. */
	__u64 number = (__u32)context[1];
	note_call(known.slot, arch, number);
	if (arch == NATIVE_ARCH)
		note_arguments(regs, known.slot, number, 0);
#ifndef PORTCULLIS_RAW
	if (known.mode & MODE_DENIALS) {
		struct pairing *pairing = bpf_task_storage_get(&pairings, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (!pairing) {
			lost(LOSS_PAIRING);
			return 0;
		}
		pairing->pairing = config->pairing;
		pairing->slot = known.slot;
		pairing->entered = 1;
	}
#endif
	return 0;
}

#ifndef PORTCULLIS_RAW
static __always_inline bool opens(long number)
{
	return IS_OPEN(number) || IS_OPENAT(number) || IS_OPENAT2(number);
}

/* The path that a call opened a file at to append to it; 0 where it did something else. The kernel has read all of it a moment ago. */
static __always_inline __u64 appended(struct pt_regs *regs, long number)
{
	struct name path = { .level = MAX_DEPTH };
	__u64 flags = IS_OPEN(number) ? ARGUMENT_1(regs) : ARGUMENT_2(regs);
	const void *text = (const void *)(IS_OPEN(number) ? ARGUMENT_0(regs) : ARGUMENT_1(regs));
	if (IS_OPENAT2(number) && bpf_probe_read_user(&flags, sizeof(flags), (const void *)flags))
		return 0;
	if (RESULT(regs) < 0 || !(flags & O_ACCMODE) || !(flags & O_APPEND))
		return 0;
	long length = bpf_probe_read_user_str(path.text, sizeof(path.text), text);
	/* What fills all bytes may be longer, and then be another file's beginning. */
	if (length <= 1 || length >= NAME_BYTES)
		return 0;
	path.length = length - 1;
	return component_hash(&path);
}

/* A log is opened anew by one who opens the file again after he was asked to. Files that are read again say nothing. */
static __noinline int note_log(struct pt_regs *regs, __u32 index, long number)
{
	struct log key = { .slot = index, .path = appended(regs, number) };
	struct slot *slot = slot_at(index);
	if (!slot || !key.path)
		return 0;
	__u64 now = bpf_ktime_get_ns(), *known = bpf_map_lookup_elem(&logs, &key);
	if (known) {
		if (slot->told_at > *known && !slot->reopened_at)
			slot->reopened_at = now;
		*known = now;
	} else if (claim(&slot->logs, share_of_logs) && bpf_map_update_elem(&logs, &key, &now, BPF_NOEXIST)) {
		__sync_fetch_and_add(&slot->logs, -1);
	}
	return 0;
}

/*
 * A call that the filter denied has an exit and no entry, because sys_enter runs after seccomp. So does the first exit of a new task,
 * of seccomp() itself, and of a call during which the probe was attached: a task's first event only synchronises.
 */
PROGRAM("sys_exit")
int leave(__u64 *context)
{
	struct config *config = at_work();
	if (!config)
		return 0;
	struct task_struct *task = current_task();
	struct pt_regs *regs = (struct pt_regs *)context[0];
	int filter = FIELD(task, seccomp.mode);
	long number = CALL_NUMBER(regs);
	if (filter != SECCOMP_MODE_FILTER && !(config->unfiltered && opens(number)))
		return 0;
	struct known known;
	if (!find(config, cgroup_of(task), &known) || !(known.mode & MODE_DENIALS))
		return 0;
	if (opens(number) && arch_of(task) == NATIVE_ARCH && counts(&known, task, filter))
		note_log(regs, known.slot, number);
	if (filter != SECCOMP_MODE_FILTER)
		return 0;
	struct pairing *pairing = bpf_task_storage_get(&pairings, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!pairing) {
		lost(LOSS_PAIRING);
		return 0;
	}
	bool synced = pairing->pairing == config->pairing && pairing->slot == known.slot;
	bool entered = pairing->entered;
	pairing->pairing = config->pairing;
	pairing->slot = known.slot;
	pairing->entered = 0;
	/* rt_sigreturn restores the registers, and with them a number of -1. */
	if (!synced || entered || number < 0)
		return 0;
	__u32 arch = arch_of(task);
	note_denial(known.slot, arch, (__u32)number);
	if (arch == NATIVE_ARCH)
		note_arguments(regs, known.slot, number, 1);
	return 0;
}
#endif

/* Whether a task without a filter belongs to the application now that it has executed a program. */
static __always_inline bool joins(struct task_struct *task, const struct known *known, struct slot *slot)
{
	if (belongs(task, slot))
		return true;
	if (!begins(task, known->mode))
		return false;
	admit(task, slot);
	/* The entry of this very call came before that. A filter would have seen it. */
	note_call(known->slot, NATIVE_ARCH, NATIVE_EXECVE);
	return true;
}

PROGRAM("sched_process_exec")
int executed(__u64 *context)
{
	struct config *config = at_work();
	if (!config)
		return 0;
	struct task_struct *task = current_task();
	struct known known;
	if (!find(config, cgroup_of(task), &known))
		return 0;
	struct slot *slot = slot_at(known.slot);
	if (!slot)
		return 0;
	bool filtered = FIELD(task, seccomp.mode) == SECCOMP_MODE_FILTER;
	if (!filtered && !(known.mode & MODE_FROM_EXEC && joins(task, &known, slot)))
		return 0;
	if (!slot->exec_at && first_is_seen(slot)) {
		slot->exec_at = bpf_ktime_get_ns();
		slot->main_tgid = FIELD(task, tgid);
		adopt(task, slot);
	} else if (!slot->entered_at && !is_native(task, slot)) {
		slot->entered_at = bpf_ktime_get_ns();
	}
	return 0;
}

#ifndef PORTCULLIS_RAW
/* The children and threads of an application's tasks are the application's. They have not run yet. */
PROGRAM("sched_process_fork")
int forked(__u64 *context)
{
	struct config *config = at_work();
	if (!config)
		return 0;
	struct task_struct *task = (struct task_struct *)context[0], *child = (struct task_struct *)context[1];
	struct application *of = bpf_task_storage_get(&applications, task, 0, 0);
	__u64 instance = of ? of->instance : 0, native = of ? of->native : 0;
	struct known known;
	if (find(config, cgroup_of(task), &known)) {
		struct slot *slot = slot_at(known.slot);
		if (slot && known.mode & MODE_FROM_EXEC && belongs(task, slot))
			instance = slot->seen_at;
		if (slot && is_native(task, slot))
			native = slot->seen_at;
	}
	if (instance || native)
		mark(child, instance, native);
	return 0;
}
#endif

PROGRAM("sched_process_exit")
int exited(__u64 *context)
{
	struct config *config = at_work();
	if (!config)
		return 0;
	struct task_struct *task = current_task();
	struct known known;
	if (!find(config, cgroup_of(task), &known))
		return 0;
#ifndef PORTCULLIS_RAW
	if (FIELD(task, seccomp.mode) == SECCOMP_MODE_DEAD) {
		struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
		note_other(known.slot, arch_of(task), CALL_NUMBER(regs), KILLED);
	}
#endif
	struct slot *slot = slot_at(known.slot);
	if (!slot || slot->exit_at || slot->main_tgid != (__u64)FIELD(task, tgid))
		return 0;
	struct signal_struct *process = FIELD(task, signal);
	if (FIELD(process, live.counter))
		return 0;
	slot->exit_code = FIELD(process, flags) & SIGNAL_GROUP_EXIT ? FIELD(process, group_exit_code) : FIELD(task, exit_code);
	slot->exit_at = bpf_ktime_get_ns();
	return 0;
}

/* The slot of a watched task that a signal is for. */
static __always_inline struct slot *signalled(struct config *config, struct task_struct *task, int signal, __u32 *index)
{
	struct known known;
	if (!config || signal < 1 || signal > 64)
		return 0;
	if (!find(config, cgroup_of(task), &known) || !counts(&known, task, FIELD(task, seccomp.mode)))
		return 0;
	*index = known.slot;
	return slot_at(known.slot);
}

/*
 * Whether somebody outside of a container's application sends a signal: the runtime, another container, a command that was executed in
 * this one. Programs send each other signals all the time, and what handlers do then is no answer to an operator.
 */
static __always_inline bool is_from_outside(struct config *config, struct kernel_siginfo *info, struct slot *slot, __u32 index)
{
	struct task_struct *sender = current_task();
	struct known known;
	int code = 0;
	/* SEND_SIG_NOINFO and SEND_SIG_PRIV: include/linux/signal.h */
	if ((unsigned long)info <= 1 || bpf_core_read(&code, sizeof(code), &info->si_code) || !SENT_BY_A_TASK(code))
		return false;
	return !find(config, cgroup_of(sender), &known) || known.slot != index || !is_native(sender, slot);
}

/* A signal without a handler that ends the process is delivered as SIGKILL, so what was sent is seen here. */
PROGRAM("signal_generate")
int generated(__u64 *context)
{
	struct config *config = at_work();
	int signal = context[0], result = context[4];
	__u32 index = 0;
	/* TRACE_SIGNAL_DELIVERED, _IGNORED and _ALREADY_PENDING: include/trace/events/signal.h */
	if (result < 0 || result > 2)
		return 0;
	struct slot *slot = signalled(config, (struct task_struct *)context[2], signal, &index);
	if (!slot)
		return 0;
	__u64 bit = 1ULL << ((signal - 1) & 63);
	if (!result)
		slot->signals |= bit;
	if (!(slot->outside & bit) && is_from_outside(config, (struct kernel_siginfo *)context[1], slot, index))
		slot->outside |= bit;
	return 0;
}

PROGRAM("signal_deliver")
int delivered(__u64 *context)
{
	int signal = context[0];
	struct k_sigaction *action = (struct k_sigaction *)context[2];
	/* SIG_DFL and SIG_IGN are 0 and 1. */
	if ((unsigned long)FIELD(action, sa.sa_handler) <= 1)
		return 0;
	__u32 index = 0;
	struct slot *slot = signalled(at_work(), current_task(), signal, &index);
	if (!slot)
		return 0;
	__u64 bit = 1ULL << ((signal - 1) & 63);
	slot->handled |= bit;
	if ((signal == SIGHUP || signal == SIGUSR1) && slot->outside & bit)
		slot->told_at = bpf_ktime_get_ns();
	return 0;
}

PROGRAM("cgroup_mkdir")
int made(__u64 *context)
{
	struct config *config = at_work();
	struct cgroup *cgroup = (struct cgroup *)context[0];
	if (!config || !in_our_hierarchy(cgroup))
		return 0;
	struct known known;
	classify(cgroup, config->generation, 1, &known);
	return 0;
}

PROGRAM("cgroup_rmdir")
int removed(__u64 *context)
{
	struct config *config = at_work();
	struct cgroup *cgroup = (struct cgroup *)context[0];
	if (!config || !in_our_hierarchy(cgroup))
		return 0;
	__u64 id = cgroup_id(cgroup);
	forget(id);
	struct known *known = bpf_map_lookup_elem(&cgroups, &id);
	if (!known)
		return 0;
	struct slot *slot = slot_at(known->slot);
	if (slot && slot->owner == id)
		slot->removed_at = bpf_ktime_get_ns();
	bpf_map_delete_elem(&cgroups, &id);
	return 0;
}
