/* What a member keeps on disk: an append-only file of tagged records, and the manifest.

   A record is its tag, a length and the bytes. A process that dies in the middle of a write leaves a torn
   tail, which the next opening cuts off; what the bytes mean is checked by whoever reads them. */
#define _GNU_SOURCE
#include "community/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct community_store {
    char folder[COMMUNITY_PATH];
    int lock;
    int fd;
    size_t bytes;
};

enum { HEAD_BYTES = 5 };

static size_t length_at(const char *head)
{
    const uint8_t *p = (const uint8_t *)head;
    return p[1] | (size_t)p[2] << 8 | (size_t)p[3] << 16 | (size_t)p[4] << 24;
}

/* Hands over all whole records. Returns the bytes they take. */
static size_t walk(const char *data, size_t bytes,
                   void (*each)(void *ctx, enum community_store_tag tag, const void *data, size_t bytes),
                   void *ctx)
{
    size_t at = 0;
    while (bytes - at >= HEAD_BYTES) {
        size_t length = length_at(data + at);
        if (length > WIRE_MESSAGE_MAX || bytes - at - HEAD_BYTES < length)
            break;
        each(ctx, (enum community_store_tag)data[at], data + at + HEAD_BYTES, length);
        at += HEAD_BYTES + length;
    }
    return at;
}

static int open_records(struct base_error *error, struct community_store *store,
                        void (*each)(void *ctx, enum community_store_tag tag, const void *data, size_t bytes),
                        void *ctx)
{
    char path[COMMUNITY_PATH], *data = NULL;
    size_t bytes = 0;
    if (community_path(error, path, "%s/records", store->folder))
        return -1;
    if (!access(path, F_OK) && base_read_file(error, &data, &bytes, path))
        return -1;
    store->bytes = data ? walk(data, bytes, each, ctx) : 0;
    free(data);
    store->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (store->fd < 0 || (store->bytes < bytes && ftruncate(store->fd, (off_t)store->bytes)))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot write %s: %s", path, strerror(errno));
    return 0;
}

int community_store_open(struct base_error *error, struct community_store **out, const char *folder,
                         void (*each)(void *ctx, enum community_store_tag tag, const void *data,
                                      size_t bytes),
                         void *ctx)
{
    char path[COMMUNITY_PATH];
    struct community_store *store = calloc(1, sizeof *store);
    if (!store)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    store->fd = store->lock = -1;
    if (mkdir(folder, 0700) && errno != EEXIST) {
        base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot create %s: %s", folder, strerror(errno));
        goto fail;
    }
    if (community_path(error, store->folder, "%s", folder) || community_path(error, path, "%s/lock", folder))
        goto fail;
    store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock < 0 || flock(store->lock, LOCK_EX | LOCK_NB)) {
        base_fail(error, BASE_EXIT_ENVIRONMENT,
                  "%s is in use: a member of this name is running already; choose another with --member",
                  folder);
        goto fail;
    }
    if (open_records(error, store, each, ctx))
        goto fail;
    *out = store;
    return 0;
fail:
    community_store_close(store);
    return -1;
}

int community_store_append(struct base_error *error, struct community_store *store,
                           enum community_store_tag tag, const void *data, size_t bytes)
{
    uint8_t head[HEAD_BYTES] = {(uint8_t)tag, (uint8_t)bytes, (uint8_t)(bytes >> 8), (uint8_t)(bytes >> 16),
                                (uint8_t)(bytes >> 24)};
    struct iovec parts[2] = {{head, HEAD_BYTES}, {(void *)(uintptr_t)data, bytes}};
    ssize_t written = writev(store->fd, parts, 2);
    if (written != (ssize_t)(HEAD_BYTES + bytes)) {
        int reason = written < 0 ? errno : ENOSPC;
        /* Half a record in the middle would hide all that follow it. */
        if (written > 0 && ftruncate(store->fd, (off_t)store->bytes))
            reason = errno;
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot write %s/records: %s", store->folder,
                         strerror(reason));
    }
    store->bytes += (size_t)written;
    return 0;
}

int community_store_rewrite(struct base_error *error, struct community_store *store,
                            int (*write)(void *ctx, struct community_store *to), void *ctx)
{
    char path[COMMUNITY_PATH], fresh[COMMUNITY_PATH];
    struct community_store to = *store;
    if (community_path(error, path, "%s/records", store->folder) ||
        community_path(error, fresh, "%s/records.new", store->folder))
        return -1;
    to.bytes = 0;
    to.fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (to.fd < 0)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot create %s: %s", fresh, strerror(errno));
    if (write(ctx, &to) || fsync(to.fd) || rename(fresh, path)) {
        close(to.fd);
        unlink(fresh);
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot write %s: %s", fresh, strerror(errno));
    }
    close(store->fd);
    store->fd = to.fd;
    store->bytes = to.bytes;
    return 0;
}

size_t community_store_bytes(const struct community_store *store)
{
    return store->bytes;
}

int community_store_manifest(struct base_error *error, struct community_store *store, const void *data,
                             size_t bytes)
{
    char path[COMMUNITY_PATH];
    if (community_path(error, path, "%s/manifest", store->folder))
        return -1;
    return community_write_secret(error, path, data, bytes);
}

int community_store_manifest_read(struct community_store *store, char **data, size_t *bytes)
{
    char path[COMMUNITY_PATH];
    if (community_path(NULL, path, "%s/manifest", store->folder) || access(path, R_OK))
        return -1;
    return base_read_file(NULL, data, bytes, path);
}

void community_store_close(struct community_store *store)
{
    if (!store)
        return;
    if (store->fd >= 0)
        close(store->fd);
    if (store->lock >= 0)
        close(store->lock);
    free(store);
}
