// SPDX-License-Identifier: GPL-2.0-only
/* What the two tracepoints cost by themselves, for the bench: programs that do nothing. */
#include "kernel.h"

char LICENSE[] SEC("license") = "GPL";

SEC("tp_btf/sys_enter")
int enter(__u64 *context)
{
	return 0;
}

SEC("tp_btf/sys_exit")
int leave(__u64 *context)
{
	return 0;
}
