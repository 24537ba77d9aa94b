/* Sets the wall clock of one process by the seconds in the file that CLOCK_OFFSET names, while the
 * process runs; the monotonic clock stays. Preloaded; only Python is fooled, not its children.
 * (libfaketime makes Python's sleep fail: it changes the clock that sleep waits on.) */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long offset(void)
{
    const char *path = getenv("CLOCK_OFFSET");
    long seconds = 0;
    FILE *file;

    if (!path || strncmp(program_invocation_short_name, "python", 6) || !(file = fopen(path, "r")))
        return 0;
    if (fscanf(file, "%ld", &seconds) != 1)
        seconds = 0;
    fclose(file);
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    int result;

    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) {
        int kept = errno;
        now->tv_sec += offset();
        errno = kept;
    }
    return result;
}
