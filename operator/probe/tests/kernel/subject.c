/*
 * A program that makes exactly the system calls that its arguments name, and none besides: no C library, no start-up code.
 * Each argument is a step; see run() below. Numbers of calls are the machine's own.
 */
#if !defined(__x86_64__) && !defined(__aarch64__)
#error "the subject makes x86-64's and i386's calls, or arm64's"
#endif

typedef unsigned long word;

#ifdef __x86_64__
/* arch/x86/entry/syscalls/syscall_64.tbl */
enum { READ = 0, RT_SIGACTION = 13, GETPID = 39, CLONE = 56, EXECVE = 59, EXIT = 60, WAIT4 = 61, KILL = 62, PRCTL = 157, EXIT_GROUP = 231, SECCOMP = 317 };
enum { OPEN = 2, FORK = 57 };

static word call(word number, word a, word b, word c, word d, word e, word f)
{
	register word r10 __asm__("r10") = d;
	register word r8 __asm__("r8") = e;
	register word r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return number;
}

static word call_i386(word number)
{
	__asm__ volatile("int $0x80" : "+a"(number) : : "r8", "r9", "r10", "r11", "memory");
	return number;
}

static word open_to(const char *path, word flags, word mode)
{
	return call(OPEN, (word)path, flags, mode, 0, 0, 0);
}

static word fork_child(void)
{
	return call(FORK, 0, 0, 0, 0, 0, 0);
}

/* Begins main on another stack, as a thread of these flags of which the kernel clears the word when it has ended. */
static word begin_thread(word flags, word *top, volatile int *cleared, void (*begin)(void))
{
	register word r10 __asm__("r10") = (word)cleared;
	register word r8 __asm__("r8") = 0;
	register void (*r9)(void) __asm__("r9") = begin;
	word result = CLONE;
	__asm__ volatile("syscall\n test %%rax, %%rax\n jnz 1f\n call *%%r9\n 1:"
			 : "+a"(result)
			 : "D"(flags), "S"(top), "d"(0), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static void rest_a_moment(void)
{
	__asm__ volatile("pause");
}

__asm__(".globl restorer\nrestorer: mov $15, %eax\nsyscall\n");
__asm__(".globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall start\n");
#else
/* include/uapi/asm-generic/unistd.h */
enum { READ = 63, EXIT = 93, EXIT_GROUP = 94, KILL = 129, RT_SIGACTION = 134, PRCTL = 167, GETPID = 172, CLONE = 220, EXECVE = 221, WAIT4 = 260, SECCOMP = 277 };
enum { OPENAT = 56, AT_FDCWD = -100, SIGCHLD = 17 };

static word call(word number, word a, word b, word c, word d, word e, word f)
{
	register word x8 __asm__("x8") = number;
	register word x0 __asm__("x0") = a;
	register word x1 __asm__("x1") = b;
	register word x2 __asm__("x2") = c;
	register word x3 __asm__("x3") = d;
	register word x4 __asm__("x4") = e;
	register word x5 __asm__("x5") = f;
	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}

/* There is no other way into the kernel: 32-bit Arm's is a program's own, and many arm64 processors have none. */
static word call_i386(word number)
{
	(void)number;
	return call(EXIT_GROUP, 99, 0, 0, 0, 0, 0);
}

/* arm64 has neither open nor fork. */
static word open_to(const char *path, word flags, word mode)
{
	return call(OPENAT, (word)AT_FDCWD, (word)path, flags, mode, 0, 0);
}

static word fork_child(void)
{
	return call(CLONE, SIGCHLD, 0, 0, 0, 0, 0);
}

/* Begins main on another stack, as a thread of these flags of which the kernel clears the word when it has ended. */
static word begin_thread(word flags, word *top, volatile int *cleared, void (*begin)(void))
{
	register word x8 __asm__("x8") = CLONE;
	register word x0 __asm__("x0") = flags;
	register word x1 __asm__("x1") = (word)top;
	register word x2 __asm__("x2") = 0;
	register word x3 __asm__("x3") = 0;
	register word x4 __asm__("x4") = (word)cleared;
	register void (*x9)(void) __asm__("x9") = begin;
	__asm__ volatile("svc #0\n cbnz x0, 1f\n blr x9\n 1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x9)
			 : "x30", "memory");
	return x0;
}

static void rest_a_moment(void)
{
	__asm__ volatile("yield");
}

__asm__(".globl restorer\nrestorer: mov x8, #139\nsvc #0\n");
__asm__(".globl _start\n_start: mov x0, sp\nbl start\n");
#endif

struct instruction {
	unsigned short code;
	unsigned char yes, no;
	unsigned value;
};
struct program {
	unsigned short length;
	struct instruction *instructions;
};

/* What the filter does: what `deny=` and `allow=` named before, and everything else is allowed unless `otherwise=` says what. */
static struct instruction filter[64];
static unsigned length;
static unsigned otherwise = 0x7fff0000;

static void deny(unsigned number, unsigned action)
{
	filter[length++] = (struct instruction){ 0x15, 0, 1, number };
	filter[length++] = (struct instruction){ 0x06, 0, 0, action };
}

static int starts(const char *text, const char *with, const char **rest)
{
	while (*with)
		if (*text++ != *with++)
			return 0;
	*rest = text;
	return 1;
}

static word number(const char **text)
{
	word value = 0, base = 10;
	const char *at = *text;
	if (at[0] == '0' && at[1] == 'x')
		base = 16, at += 2;
	for (;; at++) {
		word digit = *at >= '0' && *at <= '9' ? (word)(*at - '0') : *at >= 'a' && *at <= 'f' ? (word)(*at - 'a' + 10) : 99;
		if (digit >= base)
			break;
		value = value * base + digit;
	}
	*text = at;
	return value;
}

static void fail(void)
{
	call(EXIT_GROUP, 99, 0, 0, 0, 0, 0);
}

static void handler(int signal)
{
	(void)signal;
}

void restorer(void);

static volatile int thread_id;
static char stack[16384] __attribute__((aligned(16)));
static char **steps;
static char **environment;

static void run(char **argument);

static void thread_main(void)
{
	run(steps);
	call(EXIT, 0, 0, 0, 0, 0, 0);
}

static void thread(char **rest)
{
	word *top = (word *)(stack + sizeof(stack));
	steps = rest;
	thread_id = 1;
	/* CLONE_VM|FS|FILES|SIGHAND|THREAD|SYSVSEM|CHILD_CLEARTID: the kernel clears thread_id when the thread has ended. */
	word result = begin_thread(0x250f00UL, top, &thread_id, thread_main);
	if ((long)result < 0)
		fail();
}

/* The `join` of a fork or thread. */
static char **after(char **argument)
{
	const char *rest;
	int open = 1;
	while (open) {
		if (!*++argument)
			fail();
		if (starts(*argument, "fork", &rest) || starts(*argument, "thread", &rest))
			open++;
		else if (starts(*argument, "join", &rest))
			open--;
	}
	return argument;
}

static void run(char **argument)
{
	for (; *argument; argument++) {
		const char *rest;
		if (starts(*argument, "wait", &rest)) {
			/* One byte on standard input: the test has put this process where it belongs. */
			char byte;
			if (call(READ, 0, (word)&byte, 1, 0, 0, 0) != 1)
				fail();
		} else if (starts(*argument, "deny=", &rest)) {
			/* deny=NUMBER:ACTION, the action being a SECCOMP_RET_* value. */
			unsigned which = number(&rest);
			rest++;
			deny(which, number(&rest));
		} else if (starts(*argument, "allow=", &rest)) {
			deny(number(&rest), 0x7fff0000);
		} else if (starts(*argument, "otherwise=", &rest)) {
			otherwise = number(&rest);
		} else if (starts(*argument, "filter", &rest)) {
			filter[length++] = (struct instruction){ 0x06, 0, 0, otherwise };
			struct program program = { length, filter };
			if (call(PRCTL, 38, 1, 0, 0, 0, 0) || call(SECCOMP, 1, 0, (word)&program, 0, 0, 0))
				fail();
		} else if (starts(*argument, "call=", &rest)) {
			/* call=NUMBER[:ARGUMENT...][*TIMES] */
			word which = number(&rest), given[6] = { 0 }, times = 1;
			for (int i = 0; i < 6 && *rest == ':'; i++) {
				rest++;
				given[i] = number(&rest);
			}
			if (*rest == '*')
				rest++, times = number(&rest);
			while (times--)
				call(which, given[0], given[1], given[2], given[3], given[4], given[5]);
		} else if (starts(*argument, "i386=", &rest)) {
			/* i386=NUMBER[*TIMES] */
			word which = number(&rest), times = 1;
			if (*rest == '*')
				rest++, times = number(&rest);
			while (times--)
				call_i386(which);
		} else if (starts(*argument, "range=", &rest)) {
			/* range=FIRST:LAST, every call of it once, with arguments that none can use */
			word which = number(&rest);
			for (word last = (rest++, number(&rest)); which <= last; which++)
				call(which, -1, -1, -1, -1, -1, -1);
		} else if (starts(*argument, "range386=", &rest)) {
			word which = number(&rest);
			for (word last = (rest++, number(&rest)); which <= last; which++)
				call_i386(which);
		} else if (starts(*argument, "values=", &rest)) {
			/* values=NUMBER:INDEX:FIRST:LAST, a call with each value of that argument, and the others such as none can use */
			word which = number(&rest), index = (rest++, number(&rest)), value = (rest++, number(&rest));
			for (word last = (rest++, number(&rest)); value <= last; value++) {
				word given[6] = { -1, -1, -1, -1, -1, -1 };
				given[index] = value;
				call(which, given[0], given[1], given[2], given[3], given[4], given[5]);
			}
		} else if (starts(*argument, "fork", &rest)) {
			/* The child does what follows up to `join`; then the parent goes on. */
			word child = fork_child();
			if (!child) {
				run(argument + 1);
				call(EXIT_GROUP, 0, 0, 0, 0, 0, 0);
			}
			call(WAIT4, child, 0, 0, 0, 0, 0);
			argument = after(argument);
		} else if (starts(*argument, "thread", &rest)) {
			/* The same by a thread, waited for without a call. */
			thread(argument + 1);
			while (thread_id)
				rest_a_moment();
			argument = after(argument);
		} else if (starts(*argument, "join", &rest)) {
			return;
		} else if (starts(*argument, "handle=", &rest)) {
			/* SA_RESTORER, and SA_RESTART for who waits */
			word action[4] = { (word)handler, 0x14000000, (word)restorer, 0 };
			call(RT_SIGACTION, number(&rest), (word)action, 0, 8, 0, 0);
		} else if (starts(*argument, "raise=", &rest)) {
			/* getpid and kill */
			word self = call(GETPID, 0, 0, 0, 0, 0, 0);
			call(KILL, self, number(&rest), 0, 0, 0, 0);
		} else if (starts(*argument, "append=", &rest)) {
			/* append=PATH: open with O_WRONLY|O_CREAT|O_APPEND */
			if ((long)open_to(rest, 02101, 0600) < 0)
				fail();
		} else if (starts(*argument, "exec=", &rest)) {
			/* exec=PATH: the steps that follow are the new program's. */
			argument[0] = (char *)rest;
			call(EXECVE, (word)rest, (word)argument, (word)environment, 0, 0, 0);
			fail();
		} else if (starts(*argument, "exit=", &rest)) {
			call(EXIT_GROUP, number(&rest), 0, 0, 0, 0, 0);
		} else {
			fail();
		}
	}
}

void start(word *stack_pointer)
{
	word count = *stack_pointer;
	char **arguments = (char **)(stack_pointer + 1);
	environment = arguments + count + 1;
	/* struct seccomp_data: the number is its first word. */
	filter[length++] = (struct instruction){ 0x20, 0, 0, 0 };
	run(arguments + 1);
	call(EXIT_GROUP, 0, 0, 0, 0, 0, 0);
}
