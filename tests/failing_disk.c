/* Calls of the C library on the files of one log, of which some are made to fail: loaded with LD_PRELOAD.

   FAILING_FILES is what the names of the files begin with. FAILING_CONTROL is a file of six 64-bit numbers, shared
   with whoever decides: from which matching call on they fail (0: none does), how many, with which errno, which calls
   match, how many did so far, and how many failed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { WRITES = 1, SYNCS = 2, OPENS = 4, READS = 8 };
enum { FROM, COUNT, ERRNO, WHICH, SEEN, FAILED, NUMBERS };
enum { MOST = 65536 };

static volatile uint64_t *control;
static const char *files;
static volatile char ours[MOST];

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAILING_CONTROL");
    files = getenv("FAILING_FILES");
    if (!path || !files) return;
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = real(path, O_RDWR);
    void *found = mmap(NULL, NUMBERS * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0 && found != MAP_FAILED) control = found;
}

static int fails(uint64_t which) {
    if (!control || !control[FROM] || !(control[WHICH] & which)) return 0;
    uint64_t call = __sync_add_and_fetch(&control[SEEN], 1);
    if (call < control[FROM] || call - control[FROM] >= control[COUNT]) return 0;
    __sync_add_and_fetch(&control[FAILED], 1);
    errno = (int)control[ERRNO];
    return 1;
}

static int is_ours(int fd) { return fd >= 0 && fd < MOST && ours[fd]; }

#define OPEN(NAME)                                                                                  \
    int NAME(const char *path, int flags, ...) {                                                    \
        static int (*real)(const char *, int, ...);                                                 \
        mode_t mode = 0;                                                                            \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                        \
            va_list rest;                                                                           \
            va_start(rest, flags);                                                                  \
            mode = va_arg(rest, mode_t);                                                            \
            va_end(rest);                                                                           \
        }                                                                                           \
        if (!real) real = dlsym(RTLD_NEXT, #NAME);                                                  \
        int mine = files && path && !strncmp(path, files, strlen(files));                           \
        /* A disk that cannot be written can still be read. */                                      \
        int applies = !control || control[ERRNO] != EROFS || (flags & O_ACCMODE) != O_RDONLY;       \
        if (mine && applies && fails(OPENS)) return -1;                                             \
        int fd = real(path, flags, mode);                                                           \
        if (fd >= 0 && fd < MOST) ours[fd] = (char)mine;                                            \
        return fd;                                                                                  \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd < MOST) ours[fd] = 0;
    return real(fd);
}

#define FAILING(RESULT, NAME, WHICH, DECLARED, GIVEN)                                               \
    RESULT NAME DECLARED {                                                                          \
        static RESULT(*real) DECLARED;                                                              \
        if (!real) real = dlsym(RTLD_NEXT, #NAME);                                                  \
        if (is_ours(fd) && fails(WHICH)) return -1;                                                 \
        return real GIVEN;                                                                          \
    }
FAILING(ssize_t, write, WRITES, (int fd, const void *what, size_t size), (fd, what, size))
FAILING(ssize_t, pwrite, WRITES, (int fd, const void *what, size_t size, off_t at), (fd, what, size, at))
FAILING(ssize_t, pwrite64, WRITES, (int fd, const void *what, size_t size, off64_t at), (fd, what, size, at))
FAILING(int, ftruncate, WRITES, (int fd, off_t size), (fd, size))
FAILING(int, ftruncate64, WRITES, (int fd, off64_t size), (fd, size))
FAILING(ssize_t, read, READS, (int fd, void *into, size_t size), (fd, into, size))
FAILING(ssize_t, pread, READS, (int fd, void *into, size_t size, off_t at), (fd, into, size, at))
FAILING(ssize_t, pread64, READS, (int fd, void *into, size_t size, off64_t at), (fd, into, size, at))
FAILING(int, fsync, SYNCS, (int fd), (fd))
FAILING(int, fdatasync, SYNCS, (int fd), (fd))
