/*
 * A disk that can be told to fail: preloaded (LD_PRELOAD) under the real server, it stands between the server and the
 * files of one directory. It forgets nothing by itself: it keeps what the tests need to undo every write, creation,
 * removal and renaming that no fsync has made durable, so that a kill becomes a power failure; and it makes syncs and
 * writes fail, or the disk full, when the tests say so. Reads are never touched, nor is what SQLite maps (`-shm`).
 *
 *   DISK_DIRECTORY  whose files: the data directory
 *   DISK_JOURNAL    a directory on the same file system for what can be undone; without it, nothing is kept
 *   DISK_CONTROL    a file of numbers (enum control), shared with the tests; without it, nothing fails
 *
 * What is not intercepted: openat, dup, pwritev, copy_file_range, sendfile, mmap for writing. The server uses none of
 * them on these files.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The numbers in the control file, each of 64 bits. All of them 0: nothing fails. */
enum control {
    SYNCS_BEFORE,   /* syncs that succeed before the first that fails */
    SYNCS_FAILING,  /* syncs that fail */
    WRITES_BEFORE,  /* writes that succeed before the first that fails */
    WRITES_FAILING, /* writes that fail */
    IS_LIMITED,     /* whether the disk has an end */
    BYTES_FREE,     /* how far away it is */
    FAULTY,         /* which files fail: a sum of enum faulty; the end of the disk is met by all if it is 0 */
    FAILED_AT,      /* when something failed first, in nanoseconds since 1970 */
    CONTROLS
};

enum faulty { LOG = 1, LOG_WAL = 2, INBOX = 4, INBOX_WAL = 8 };

enum kind { WRITTEN = 1, TRUNCATED = 2 };

/* A record of a file's journal; the old bytes follow, then the new ones. */
struct record {
    int64_t kind, offset, old_bytes, new_bytes, old_size;
};

struct file {
    ino_t inode;
    int is_directory, faulty;
    int reader;  /* never closed: closing any descriptor of a file drops the process's locks on it */
    int journal;
    pthread_mutex_t lock;
    struct file *next;
};

#define DESCRIPTORS 65536
static struct file *_Atomic opened[DESCRIPTORS];
static struct file *files;
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;

static char directory[PATH_MAX], journal[PATH_MAX];
static _Atomic int64_t nothing[CONTROLS], *control = nothing;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static int (*real_fsync)(int);
static int (*real_ftruncate)(int, off64_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_write)(int, const void *, size_t);

static void must(int holds, const char *what) {
    if (holds) return;
    dprintf(2, "faults.c: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void begin(void) {
    if (real_open) return;
    real_close = REAL(close);
    real_fsync = REAL(fsync);
    real_ftruncate = (int (*)(int, off64_t))real("ftruncate64");
    real_pwrite = (ssize_t (*)(int, const void *, size_t, off64_t))real("pwrite64");
    real_write = REAL(write);
    real_open = (int (*)(const char *, int, ...))real("open64");
    const char *name = getenv("DISK_DIRECTORY");
    if (name) snprintf(directory, sizeof directory, "%s", name);
    if ((name = getenv("DISK_JOURNAL"))) snprintf(journal, sizeof journal, "%s", name);
    if ((name = getenv("DISK_CONTROL"))) {
        int fd = real_open(name, O_RDWR | O_CLOEXEC);
        void *page = mmap(NULL, CONTROLS * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        must(fd >= 0 && page != MAP_FAILED, "the control file");
        control = page;
    }
}

static const char *base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Whether a path is the directory or something in it that is written and synced. */
static int is_ours(const char *path) {
    size_t length = strlen(directory);
    if (!length || strncmp(path, directory, length) || (path[length] && path[length] != '/')) return 0;
    const char *name = base(path), *end = name + strlen(name);
    return strcmp(name, "lock") && !(end - name > 4 && !strcmp(end - 4, "-shm"));
}

static int64_t size_of(struct file *file) {
    struct stat status;
    must(!fstat(file->reader, &status), "fstat");
    return status.st_size;
}

/* Says once when the first fault happened, and what it is. */
static int fault(int error) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t before = 0;
    atomic_compare_exchange_strong(&control[FAILED_AT], &before, now.tv_sec * 1000000000 + now.tv_nsec);
    errno = error;
    return -1;
}

/* Whether this one fails. */
static int fails(struct file *file, enum control before, enum control failing) {
    if (!(file->faulty & atomic_load(&control[FAULTY])) || atomic_load(&control[failing]) <= 0) return 0;
    if (atomic_fetch_sub(&control[before], 1) > 0) return 0;
    return atomic_fetch_sub(&control[failing], 1) > 0;
}

/* ---- what can be undone ---- */

static int journal_of(ino_t inode, const char *suffix) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%llu.%s", journal, (unsigned long long)inode, suffix);
    int fd = real_open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    must(fd >= 0, path);
    return fd;
}

/* Keeps what a write or a truncation takes away. It is in the page cache when this returns, and outlives a kill. */
static void keep(struct file *file, struct record record, const void *new_bytes) {
    if (file->journal < 0) return;
    char *old_bytes = malloc(record.old_bytes + 1);
    must(pread64(file->reader, old_bytes, record.old_bytes, record.offset) == record.old_bytes, "pread");
    struct iovec parts[3] = {
        {&record, sizeof record}, {old_bytes, record.old_bytes}, {(void *)new_bytes, record.new_bytes}};
    ssize_t length = sizeof record + record.old_bytes + record.new_bytes;
    must(writev(file->journal, parts, 3) == length, "the journal");
    free(old_bytes);
}

static void keep_truncation(struct file *file, int64_t length) {
    int64_t size = size_of(file), lost = size > length ? size - length : 0;
    keep(file, (struct record){TRUNCATED, length, lost, 0, size}, NULL);
    if (lost) atomic_fetch_add(&control[BYTES_FREE], lost);
}

/* Keeps a change of a directory: a line of what it was. */
static void keep_name(const char *what, const char *from, const char *to, const char *saved) {
    if (!*journal) return;
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%.*s", (int)(base(from) - from - 1), from);
    struct stat status;
    must(!stat(parent, &status), parent);
    int names = journal_of(status.st_ino, "names");
    dprintf(names, "%s\t%s\t%s\t%s\n", what, from, to, saved);
    real_close(names);
}

/* Another name for a file that is about to lose the one it has. */
static void save(const char *path, char *saved, size_t length) {
    static _Atomic int count;
    struct stat status;
    if (!*journal || lstat(path, &status)) {
        snprintf(saved, length, "-");
        return;
    }
    snprintf(saved, length, "%s/%d-%d.saved", journal, getpid(), atomic_fetch_add(&count, 1));
    must(!link(path, saved), saved);
}

/* ---- files ---- */

static struct file *find(int fd, const char *path, int is_new) {
    struct stat status;
    if (fstat(fd, &status)) return NULL;
    pthread_mutex_lock(&files_lock);
    struct file *file = files;
    while (file && file->inode != status.st_ino) file = file->next;
    if (!file) {
        file = calloc(1, sizeof *file);
        file->inode = status.st_ino;
        file->is_directory = S_ISDIR(status.st_mode);
        file->journal = -1;
        if (*journal && !file->is_directory) file->journal = journal_of(status.st_ino, "writes");
        pthread_mutex_init(&file->lock, NULL);
        file->next = files;
        files = file;
        file->reader = real_open(path, O_RDONLY | O_CLOEXEC);
    } else if (is_new) { /* the number of one that is gone */
        if (file->journal >= 0) must(!real_ftruncate(file->journal, 0), "the journal");
        real_close(file->reader);
        file->reader = real_open(path, O_RDONLY | O_CLOEXEC);
    }
    static const char *names[] = {"log.db", "log.db-wal", "inbox.db", "inbox.db-wal"};
    file->faulty = 0;
    for (int name = 0; name < 4; name++)
        if (!strcmp(base(path), names[name])) file->faulty = 1 << name;
    must(file->reader >= 0, path);
    pthread_mutex_unlock(&files_lock);
    return file;
}

static int open_it(const char *path, int flags, mode_t mode) {
    begin();
    if (!is_ours(path)) return real_open(path, flags, mode);
    struct stat status;
    int is_new = (flags & O_CREAT) && lstat(path, &status);
    if (!is_new && (flags & O_TRUNC)) {
        int fd = real_open(path, O_RDONLY | O_CLOEXEC);
        struct file *file = fd >= 0 ? find(fd, path, 0) : NULL;
        if (file) keep_truncation(file, 0);
        if (fd >= 0 && file->reader != fd) real_close(fd);
    }
    if (is_new) keep_name("created", path, "-", "-");
    int fd = real_open(path, flags, mode);
    if (fd >= 0 && fd < DESCRIPTORS) atomic_store(&opened[fd], find(fd, path, is_new));
    return fd;
}

static struct file *of(int fd) {
    begin();
    return fd >= 0 && fd < DESCRIPTORS ? atomic_load(&opened[fd]) : NULL;
}

/* How much of a write the disk still takes. */
static int64_t room(struct file *file, int64_t count, int64_t offset) {
    if (!atomic_load(&control[IS_LIMITED])) return count;
    int64_t only = atomic_load(&control[FAULTY]);
    if (only && !(file->faulty & only)) return count;
    int64_t growth = offset + count - size_of(file);
    if (growth <= 0) return count;
    int64_t rest = atomic_fetch_sub(&control[BYTES_FREE], growth) - growth;
    if (rest >= 0) return count;
    int64_t missing = -rest < growth ? -rest : growth;
    atomic_fetch_add(&control[BYTES_FREE], missing);
    return count - missing;
}

static ssize_t write_at(struct file *file, int fd, const void *bytes, size_t count, off64_t offset) {
    if (fails(file, WRITES_BEFORE, WRITES_FAILING)) return fault(EIO);
    int64_t fits = room(file, count, offset);
    if (count && fits <= 0) return fault(ENOSPC);
    int64_t size = size_of(file), old = size - offset;
    old = old < 0 ? 0 : old > fits ? fits : old;
    keep(file, (struct record){WRITTEN, offset, old, fits, size}, bytes);
    return real_pwrite(fd, bytes, fits, offset);
}

static int truncate_to(struct file *file, int fd, off64_t length) {
    keep_truncation(file, length);
    return real_ftruncate(fd, length);
}

/* Forgets how to undo what is durable now. A kill before that undoes it, as if the power had failed a moment earlier. */
static int sync_it(struct file *file, int fd) {
    if (fails(file, SYNCS_BEFORE, SYNCS_FAILING)) return fault(EIO);
    int outcome = real_fsync(fd);
    if (outcome) return outcome;
    if (file->journal >= 0) must(!real_ftruncate(file->journal, 0), "the journal");
    if (file->is_directory && *journal) {
        int names = journal_of(file->inode, "names");
        must(!real_ftruncate(names, 0), "the journal");
        real_close(names);
    }
    return 0;
}

/* ---- what is intercepted ---- */

#define MODE(flags, mode)                                   \
    mode_t mode = 0;                                        \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                  \
        va_list arguments;                                  \
        va_start(arguments, flags);                         \
        mode = va_arg(arguments, mode_t);                   \
        va_end(arguments);                                  \
    }
#define LOCKED(file, type, call)                            \
    do {                                                    \
        pthread_mutex_lock(&(file)->lock);                  \
        type outcome = (call);                              \
        int error = errno;                                  \
        pthread_mutex_unlock(&(file)->lock);                \
        errno = error;                                      \
        return outcome;                                     \
    } while (0)

int open(const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_it(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_it(path, flags, mode);
}

int close(int fd) {
    if (of(fd)) atomic_store(&opened[fd], NULL);
    return real_close(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    struct file *file = of(fd);
    if (!file) return real_pwrite(fd, bytes, count, offset);
    LOCKED(file, ssize_t, write_at(file, fd, bytes, count, offset));
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return pwrite64(fd, bytes, count, offset);
}

static ssize_t write_on(struct file *file, int fd, const void *bytes, size_t count) {
    off64_t offset = fcntl(fd, F_GETFL) & O_APPEND ? size_of(file) : lseek64(fd, 0, SEEK_CUR);
    ssize_t written = write_at(file, fd, bytes, count, offset);
    if (written > 0) lseek64(fd, offset + written, SEEK_SET);
    return written;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    struct file *file = of(fd);
    if (!file) return real_write(fd, bytes, count);
    LOCKED(file, ssize_t, write_on(file, fd, bytes, count));
}

int ftruncate64(int fd, off64_t length) {
    struct file *file = of(fd);
    if (!file) return real_ftruncate(fd, length);
    LOCKED(file, int, truncate_to(file, fd, length));
}

int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

int fsync(int fd) {
    struct file *file = of(fd);
    if (!file) return real_fsync(fd);
    LOCKED(file, int, sync_it(file, fd));
}

int fdatasync(int fd) {
    return fsync(fd);
}

static int allocate(struct file *file, int fd, int mode, off64_t offset, off64_t length) {
    int (*real_fallocate)(int, int, off64_t, off64_t) = (int (*)(int, int, off64_t, off64_t))real("fallocate64");
    int64_t growth = offset + length - size_of(file);
    if (growth > 0 && atomic_load(&control[IS_LIMITED])) {
        if (atomic_load(&control[BYTES_FREE]) < growth) return fault(ENOSPC);
        atomic_fetch_sub(&control[BYTES_FREE], growth);
    }
    return real_fallocate(fd, mode, offset, length);
}

/* Nothing of it can be undone: the server allocates only ballast, in which nothing is written. */
int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    struct file *file = of(fd);
    if (!file) return ((int (*)(int, int, off64_t, off64_t))real("fallocate64"))(fd, mode, offset, length);
    LOCKED(file, int, allocate(file, fd, mode, offset, length));
}

int unlink(const char *path) {
    int (*real_unlink)(const char *) = REAL(unlink);
    struct stat status;
    if (!is_ours(path) || lstat(path, &status)) return real_unlink(path);
    char saved[PATH_MAX + 64];
    save(path, saved, sizeof saved);
    keep_name("removed", path, "-", saved);
    atomic_fetch_add(&control[BYTES_FREE], status.st_size);
    return real_unlink(path);
}

int rename(const char *from, const char *to) {
    int (*real_rename)(const char *, const char *) = REAL(rename);
    if (!is_ours(to)) return real_rename(from, to);
    char saved[PATH_MAX + 64];
    save(to, saved, sizeof saved);
    keep_name("renamed", from, to, saved);
    return real_rename(from, to);
}

static int left(int outcome, const char *path, struct statvfs64 *status) {
    if (!outcome && is_ours(path) && atomic_load(&control[IS_LIMITED]))
        status->f_bfree = status->f_bavail = atomic_load(&control[BYTES_FREE]) / status->f_frsize;
    return outcome;
}

int statvfs64(const char *path, struct statvfs64 *status) {
    int (*real_statvfs)(const char *, struct statvfs64 *) = REAL(statvfs64);
    return left(real_statvfs(path, status), path, status);
}
