/* SPDX-License-Identifier: GPL-2.0-only
 *
 * The few fields of the kernel that the probe reads. Their offsets come from the running kernel's BTF when the object is loaded
 * (preserve_access_index), so this needs no vmlinux.h and fits every kernel that has the fields.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define RELOCATED __attribute__((preserve_access_index))

/*
 * An index of a table with `size` entries, a power of two. Where a compiler has seen the index compared, it drops the mask; and the
 * verifier of Linux 6.1 does not conclude from a comparison of a register's low half that the whole of it is bounded. What goes
 * through the barrier may have changed, so the mask stays.
 */
static __always_inline __u64 within(__u64 index, __u64 size)
{
	asm volatile("" : "+r"(index));
	return index & (size - 1);
}

struct thread_info {
	unsigned long flags;
#ifdef __TARGET_ARCH_x86
	__u32 status;
#endif
} RELOCATED;

struct seccomp {
	int mode;
} RELOCATED;

struct kernfs_node {
	__u64 id;
	const char *name;
} RELOCATED;

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
} RELOCATED;

struct cgroup_root {
	unsigned int subsys_mask;
	int hierarchy_id;
} RELOCATED;

struct cgroup {
	struct cgroup_subsys_state self;
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
} RELOCATED;

/* The enumerator's real value is taken from the kernel: it depends on which controllers are built in. */
enum cgroup_subsys_id { pids_cgrp_id = 0 };

struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
} RELOCATED;

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;
	unsigned int flags;
	int group_exit_code;
} RELOCATED;

struct mnt_namespace;

struct nsproxy {
	struct mnt_namespace *mnt_ns;
} RELOCATED;

struct task_struct {
	struct thread_info thread_info;
	struct seccomp seccomp;
	struct css_set *cgroups;
	struct signal_struct *signal;
	struct nsproxy *nsproxy;
	struct task_struct *real_parent;
	int pid;
	int tgid;
	int exit_code;
	__u64 start_time; /* CLOCK_MONOTONIC, as bpf_ktime_get_ns */
} RELOCATED;

struct kernel_siginfo {
	int si_code;
} RELOCATED;

struct k_sigaction {
	struct {
		void *sa_handler;
	} RELOCATED sa;
} RELOCATED;

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r10, r9, r8, ax, dx, si, di, orig_ax;
} RELOCATED;
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31];
} RELOCATED;
struct pt_regs {
	__u64 regs[31];
	__u64 orig_x0;
	int syscallno;
} RELOCATED;
#else
#error "the probe knows the registers of x86_64 and aarch64 only"
#endif

/* include/uapi/linux/seccomp.h; SECCOMP_MODE_DEAD is in kernel/seccomp.c. */
#define SECCOMP_MODE_FILTER 2
#define SECCOMP_MODE_DEAD 3
/* include/uapi/asm-generic/siginfo.h: what a task sent, by kill, sigqueue and tkill; timers and the kernel have other codes. */
#define SENT_BY_A_TASK(code) ((code) == 0 || (code) == -1 || (code) == -6)
#define SIGHUP 1
#define SIGUSR1 10
/* include/uapi/asm-generic/fcntl.h; openat2 has one number everywhere. */
#define O_ACCMODE 3
#define O_APPEND 02000
#define IS_OPENAT2(number) ((number) == 437)
/* include/linux/sched/signal.h */
#define SIGNAL_GROUP_EXIT 0x00000004
/* include/uapi/linux/audit.h */
#define AUDIT_ARCH_X86_64 0xc000003e
#define AUDIT_ARCH_I386 0x40000003
#define AUDIT_ARCH_AARCH64 0xc00000b7
#define AUDIT_ARCH_ARM 0x40000028

/*
 * Two ways to the same fields. tp_btf programs follow pointers with plain loads, which the verifier makes safe. Raw tracepoints, for
 * kernels that refuse those, copy each field with a helper: it costs about three times as much (docs/recording.md).
 */
#ifdef PORTCULLIS_RAW
#define PROGRAM(tracepoint) SEC("raw_tp/" tracepoint)
#define FIELD(pointer, field)                                                                    \
	({                                                                                       \
		typeof((pointer)->field) value_ = {0};                                           \
		bpf_core_read(&value_, sizeof(value_), &(pointer)->field);                       \
		value_;                                                                          \
	})
static __always_inline struct task_struct *current_task(void)
{
	return (struct task_struct *)bpf_get_current_task();
}
#else
#define PROGRAM(tracepoint) SEC("tp_btf/" tracepoint)
#define FIELD(pointer, field) ((pointer)->field)
static __always_inline struct task_struct *current_task(void)
{
	return bpf_get_current_task_btf();
}
#endif

/* AUDIT_ARCH of the call that the task makes now. x32 calls count as x86_64's and carry bit 30 in their number, as in a filter. */
static __always_inline __u32 arch_of(struct task_struct *task)
{
#if defined(__TARGET_ARCH_x86)
	/* TS_COMPAT: arch/x86/include/asm/thread_info.h */
	return FIELD(task, thread_info.status) & 0x2 ? AUDIT_ARCH_I386 : AUDIT_ARCH_X86_64;
#else
	/* TIF_32BIT: arch/arm64/include/asm/thread_info.h */
	return FIELD(task, thread_info.flags) & (1UL << 22) ? AUDIT_ARCH_ARM : AUDIT_ARCH_AARCH64;
#endif
}

#if defined(__TARGET_ARCH_x86)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#define COMPAT_ARCH AUDIT_ARCH_I386
#define NATIVE_EXECVE 59
#define IS_OPEN(number) ((number) == 2)
#define IS_OPENAT(number) ((number) == 257)
/* x32's numbers carry a bit, and its table is the native one with some more behind it (arch/x86/entry/syscalls/syscall_64.tbl). */
#define OUTSIDE_OF_TABLES(arch, number) ((arch) == NATIVE_ARCH && (number) >> 10 == 1U << 30 >> 10)
#define CALL_NUMBER(regs) ((long)FIELD(regs, orig_ax))
#define RESULT(regs) ((long)FIELD(regs, ax))
#define ARGUMENT_0(regs) FIELD(regs, di)
#define ARGUMENT_1(regs) FIELD(regs, si)
#define ARGUMENT_2(regs) FIELD(regs, dx)
#define ARGUMENT_3(regs) FIELD(regs, r10)
#define ARGUMENT_4(regs) FIELD(regs, r8)
#define ARGUMENT_5(regs) FIELD(regs, r9)
#else
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#define COMPAT_ARCH AUDIT_ARCH_ARM
#define NATIVE_EXECVE 221
/* There is openat alone. */
#define IS_OPEN(number) false
#define IS_OPENAT(number) ((number) == 56)
/* The private calls of 32-bit ARM, such as set_tls (arch/arm64/include/asm/unistd.h, __ARM_NR_COMPAT_BASE). */
#define OUTSIDE_OF_TABLES(arch, number) ((arch) == COMPAT_ARCH && (number) >> 4 == 0xf0000 >> 4)
#define CALL_NUMBER(regs) ((long)FIELD(regs, syscallno))
#define RESULT(regs) ((long)FIELD(regs, regs[0]))
/* The first register also carries the result, so the kernel keeps the argument apart. */
#define ARGUMENT_0(regs) FIELD(regs, orig_x0)
#define ARGUMENT_1(regs) FIELD(regs, regs[1])
#define ARGUMENT_2(regs) FIELD(regs, regs[2])
#define ARGUMENT_3(regs) FIELD(regs, regs[3])
#define ARGUMENT_4(regs) FIELD(regs, regs[4])
#define ARGUMENT_5(regs) FIELD(regs, regs[5])
#endif
