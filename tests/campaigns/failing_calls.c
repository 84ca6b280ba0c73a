/* Lets the n-th call that would change a file below a folder fail, for LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char below[PATH_MAX];
static volatile int countdown = 0, error = EIO, for_ever = 0, seen = 0;

void failing_arm(const char *folder, int n, int number, int from_then_on) {
    strncpy(below, folder, sizeof below - 1);
    seen = 0;
    error = number;
    for_ever = from_then_on;
    countdown = n;
}

int failing_seen(void) { return seen; }

static int path_fails(const char *path) {
    if (countdown == 0 || !*below || strncmp(path, below, strlen(below)) != 0)
        return 0;
    int n = __sync_add_and_fetch(&seen, 1);
    if (n == countdown || (for_ever && n > countdown)) {
        errno = error;
        return 1;
    }
    return 0;
}

static int file_fails(int descriptor) {
    char link[64], path[PATH_MAX];
    if (countdown == 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    return path_fails(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int d, const void *b, size_t n) { return file_fails(d) ? -1 : REAL(write)(d, b, n); }
ssize_t pwrite(int d, const void *b, size_t n, off_t o) { return file_fails(d) ? -1 : REAL(pwrite)(d, b, n, o); }
ssize_t pwrite64(int d, const void *b, size_t n, off64_t o) { return file_fails(d) ? -1 : REAL(pwrite64)(d, b, n, o); }
ssize_t writev(int d, const struct iovec *v, int n) { return file_fails(d) ? -1 : REAL(writev)(d, v, n); }
int fsync(int d) { return file_fails(d) ? -1 : REAL(fsync)(d); }
int fdatasync(int d) { return file_fails(d) ? -1 : REAL(fdatasync)(d); }
int ftruncate(int d, off_t n) { return file_fails(d) ? -1 : REAL(ftruncate)(d, n); }
int link(const char *a, const char *b) { return path_fails(b) ? -1 : REAL(link)(a, b); }
int linkat(int x, const char *a, int y, const char *b, int f) { return path_fails(b) ? -1 : REAL(linkat)(x, a, y, b, f); }
int rename(const char *a, const char *b) { return path_fails(b) ? -1 : REAL(rename)(a, b); }
int renameat(int x, const char *a, int y, const char *b) { return path_fails(b) ? -1 : REAL(renameat)(x, a, y, b); }
int mkdir(const char *a, mode_t m) { return path_fails(a) ? -1 : ((int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir"))(a, m); }
int unlink(const char *a) { return path_fails(a) ? -1 : REAL(unlink)(a); }
int unlinkat(int x, const char *a, int f) { return path_fails(a) ? -1 : REAL(unlinkat)(x, a, f); }

#define OPEN(name)                                                                   \
    int name(const char *a, int f, ...) {                                            \
        va_list more;                                                                \
        va_start(more, f);                                                           \
        mode_t m = va_arg(more, mode_t);                                             \
        va_end(more);                                                                \
        if ((f & O_ACCMODE) != O_RDONLY && path_fails(a))                            \
            return -1;                                                               \
        return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name))(a, f, m);  \
    }
OPEN(open)
OPEN(open64)
