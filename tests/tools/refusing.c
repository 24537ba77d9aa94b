/* A file system that refuses one operation: REFUSES is `OPERATION ERRNO PATTERN`, such as
 * `rename 16 .../data/bbb`, with one of look, mode, rename, time; the pattern is of the whole path.
 * Preloaded; children have it, too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int refused(const char *operation, int folder, const char *name)
{
    const char *rule = getenv("REFUSES");
    char wanted[16], pattern[256], link[64], path[8192] = "";
    int number, kept = errno;
    ssize_t length;

    if (!rule || sscanf(rule, "%15s %d %255s", wanted, &number, pattern) != 3)
        return 0;
    if (strcmp(wanted, operation))
        return 0;
    if (!name || name[0] != '/' || !strncmp(name, "/proc/self/fd/", 14)) {
        if (name && name[0] == '/')
            snprintf(link, sizeof link, "%s", name);
        else if (folder == AT_FDCWD)
            strcpy(link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        length = readlink(link, path, 4000);
        path[length > 0 ? length : 0] = 0;
    }
    if (name && strncmp(name, "/proc/self/fd/", 14)) {
        if (*path)
            strcat(path, "/");
        strncat(path, name, 4000);
    }
    errno = fnmatch(pattern, path, 0) ? kept : number;
    return errno == number;
}

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) \
        real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

int renameat(int one, const char *from, int other, const char *to)
{
    REAL(int, "renameat", int, const char *, int, const char *);
    return refused("rename", other, to) ? -1 : real(one, from, other, to);
}

int renameat2(int one, const char *from, int other, const char *to, unsigned flags)
{
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    return refused("rename", other, to) ? -1 : real(one, from, other, to, flags);
}

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    return refused("rename", AT_FDCWD, to) ? -1 : real(from, to);
}

int utimensat(int folder, const char *name, const struct timespec times[2], int flags)
{
    REAL(int, "utimensat", int, const char *, const struct timespec[2], int);
    return refused("time", folder, name) ? -1 : real(folder, name, times, flags);
}

int futimens(int file, const struct timespec times[2])
{
    REAL(int, "futimens", int, const struct timespec[2]);
    return refused("time", file, NULL) ? -1 : real(file, times);
}

int fchmodat(int folder, const char *name, mode_t mode, int flags)
{
    REAL(int, "fchmodat", int, const char *, mode_t, int);
    return refused("mode", folder, name) ? -1 : real(folder, name, mode, flags);
}

int chmod(const char *name, mode_t mode)
{
    REAL(int, "chmod", const char *, mode_t);
    return refused("mode", AT_FDCWD, name) ? -1 : real(name, mode);
}

int fchmod(int file, mode_t mode)
{
    REAL(int, "fchmod", int, mode_t);
    return refused("mode", file, NULL) ? -1 : real(file, mode);
}

int fstatat(int folder, const char *name, struct stat *found, int flags)
{
    REAL(int, "fstatat", int, const char *, struct stat *, int);
    return refused("look", folder, name) ? -1 : real(folder, name, found, flags);
}

int fstatat64(int folder, const char *name, struct stat64 *found, int flags)
{
    REAL(int, "fstatat64", int, const char *, struct stat64 *, int);
    return refused("look", folder, name) ? -1 : real(folder, name, found, flags);
}
