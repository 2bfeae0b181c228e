/*
 * A program that makes exactly the system calls that its arguments name, and none besides: no C library, no start-up code.
 * Each argument is a step; see step() below.
 */
#ifndef __x86_64__
#error "the subject makes x86_64's and i386's calls"
#endif

typedef unsigned long word;

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

enum { READ = 0, OPEN = 2, RT_SIGACTION = 13, GETPID = 39, CLONE = 56, FORK = 57, EXECVE = 59, EXIT = 60, WAIT4 = 61, KILL = 62, PRCTL = 157, EXIT_GROUP = 231, SECCOMP = 317 };

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

__asm__(".globl restorer\nrestorer: mov $15, %eax\nsyscall\n");
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
	register word r10 __asm__("r10") = (word)&thread_id;
	register word r8 __asm__("r8") = 0;
	register void (*r9)(void) __asm__("r9") = thread_main;
	word result = CLONE;
	__asm__ volatile("syscall\n test %%rax, %%rax\n jnz 1f\n call *%%r9\n 1:"
			 : "+a"(result)
			 : "D"(0x250f00UL), "S"(top), "d"(0), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
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
			word child = call(FORK, 0, 0, 0, 0, 0, 0);
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
				__asm__ volatile("pause");
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
			if ((long)call(OPEN, (word)rest, 02101, 0600, 0, 0, 0) < 0)
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

__asm__(".globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall start\n");
