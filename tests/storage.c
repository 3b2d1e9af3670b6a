/* Loaded before libc (LD_PRELOAD): the n-th call that changes storage below a folder fails once, or ends the process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char root[PATH_MAX];
static long left, calls;
static int error;

/* fails the n-th call from now on with `code`, or kills the process where that is 0; n = 0 only counts */
void storage_arm(const char *folder, long n, int code) {
    strncpy(root, folder, sizeof root - 1);
    left = n;
    error = code;
    calls = 0;
}

long storage_calls(void) { return calls; }

static int refused(const char *path) {
    if (!root[0] || strncmp(path, root, strlen(root))) return 0;
    calls++;
    if (!left || --left) return 0;
    if (!error) kill(getpid(), SIGKILL);
    errno = error;
    return 1;
}

static int refused_at(int folder, const char *path) {
    char whole[PATH_MAX * 2], link[64];
    if (path && path[0] == '/') return refused(path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    if (folder == AT_FDCWD) strcpy(link, "/proc/self/cwd");
    ssize_t size = readlink(link, whole, PATH_MAX - 1);
    if (size < 0) return 0;
    snprintf(whole + size, PATH_MAX, "/%s", path ? path : "");
    return refused(whole);
}

#define REAL(name) (real = real ? real : dlsym(RTLD_NEXT, name))
#define ON_HANDLE(type, name, parameters, arguments)                 \
    type name parameters {                                           \
        static type(*real) parameters;                               \
        return refused_at(fd, 0) ? -1 : REAL(#name) arguments;       \
    }
#define ON_PATH(name, parameters, arguments)                         \
    int name parameters {                                            \
        static int(*real) parameters;                                \
        return refused_at(AT_FDCWD, path) ? -1 : REAL(#name) arguments; \
    }
#define ON_OPEN(name)                                                \
    int name(const char *path, int flags, ...) {                     \
        static int (*real)(const char *, int, ...);                  \
        va_list more;                                                \
        va_start(more, flags);                                       \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;    \
        va_end(more);                                                \
        if (flags & O_CREAT && refused_at(AT_FDCWD, path)) return -1; \
        return REAL(#name)(path, flags, mode);                       \
    }

ON_HANDLE(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
ON_HANDLE(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
ON_HANDLE(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
ON_HANDLE(int, fsync, (int fd), (fd))
ON_HANDLE(int, fdatasync, (int fd), (fd))
ON_HANDLE(int, ftruncate, (int fd, off_t size), (fd, size))
ON_HANDLE(int, ftruncate64, (int fd, off64_t size), (fd, size))
ON_PATH(rename, (const char *path, const char *to), (path, to))
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode))
ON_PATH(unlink, (const char *path), (path))
ON_PATH(rmdir, (const char *path), (path))
ON_OPEN(open)
ON_OPEN(open64)

int unlinkat(int fd, const char *path, int flags) {
    static int (*real)(int, const char *, int);
    return refused_at(fd, path) ? -1 : REAL("unlinkat")(fd, path, flags);
}
