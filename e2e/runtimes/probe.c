/* The program of a measured container. It makes one call, over and over, so that no filter keeps it from being looked at. */
__attribute__((naked, noreturn)) void _start(void)
{
#if defined(__x86_64__)
	__asm__ volatile("1: movl $34, %eax\n\tsyscall\n\tjmp 1b"); /* pause() */
#elif defined(__aarch64__)
	__asm__ volatile("1: mov x0, #0\n\tmov x1, #0\n\tmov x2, #0\n\tmov x3, #0\n\tmov x4, #0\n\t"
			 "mov x8, #73\n\tsvc #0\n\tb 1b"); /* ppoll() of nothing, for ever */
#else
#error "How does a program wait for ever on this architecture?"
#endif
}
