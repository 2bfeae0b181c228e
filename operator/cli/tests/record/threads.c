/* Starts threads as a C library does, and says that they ran. */
#include <pthread.h>
#include <stdio.h>

static void *work(void *argument)
{
	__atomic_fetch_add((int *)argument, 1, __ATOMIC_SEQ_CST);
	return 0;
}

int main(void)
{
	pthread_t threads[4];
	int ran = 0;
	for (int i = 0; i < 4; i++) {
		if (pthread_create(&threads[i], 0, work, &ran)) {
			puts("can't start new thread");
			return 1;
		}
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], 0);
	printf("%d threads\n", ran);
	return 0;
}
