/* Input and output in pieces, and the addresses that the socket functions hand out. */
#include "stem/intrinsics_private.h"

#define AROUND(name) void stem_around_##name(struct stem_call *call, const struct intrinsic *function)

struct piece { /* struct iovec */
    uintptr_t base;
    size_t bytes;
};
enum { PIECES_MAX = 1024 };

static uint64_t piece_count(struct stem_call *call, const struct intrinsic *function, uintptr_t pieces,
                            uint64_t count)
{
    if (count > PIECES_MAX) /* the kernel refuses them */
        return 0;
    return stem_intrinsic_touch(call, function, pieces, count * sizeof(struct piece), false) ? count : 0;
}

/* Pieces that are about to be written: logged, and remembered, for what comes may run over the list of them. */
struct pieces {
    uint64_t count;
    struct piece piece[64];
};

static void expect_pieces(struct pieces *pieces, const struct piece *piece, uint64_t count)
{
    uint64_t room = sizeof pieces->piece / sizeof *piece;
    pieces->count = count < room ? count : room;
    for (uint64_t i = 0; i < count; i++) {
        stem_undo_log(piece[i].base, piece[i].bytes);
        if (i < room)
            pieces->piece[i] = piece[i];
    }
}

static void touch_pieces(struct stem_call *call, const struct intrinsic *function, const struct piece *piece,
                         uint64_t count, size_t most, bool is_write)
{
    for (uint64_t i = 0; most && i < count; i++) {
        size_t bytes = piece[i].bytes < most ? piece[i].bytes : most;
        stem_intrinsic_touch(call, function, piece[i].base, bytes, is_write);
        most -= bytes;
    }
}

AROUND(readv)
{
    const struct piece *piece = (const struct piece *)call->arg[1];
    struct pieces pieces;
    expect_pieces(&pieces, piece, piece_count(call, function, call->arg[1], (uint32_t)call->arg[2]));
    call->rax = stem_intrinsic_real(call);
    touch_pieces(call, function, pieces.piece, pieces.count, (int64_t)call->rax > 0 ? call->rax : 0, true);
}

AROUND(writev)
{
    const struct piece *piece = (const struct piece *)call->arg[1];
    uint64_t count = piece_count(call, function, call->arg[1], (uint32_t)call->arg[2]);
    touch_pieces(call, function, piece, count, SIZE_MAX, false);
    call->rax = stem_intrinsic_real(call);
}

struct message { /* struct msghdr */
    uintptr_t name;
    uint32_t name_bytes;
    uintptr_t pieces;
    uint64_t piece_count;
    uintptr_t control;
    uint64_t control_bytes;
    uint64_t flags;
};

AROUND(sendmsg)
{
    const struct message *m = (const struct message *)call->arg[1];
    uint64_t count = piece_count(call, function, m->pieces, m->piece_count);
    touch_pieces(call, function, (const struct piece *)m->pieces, count, SIZE_MAX, false);
    if (m->name)
        stem_intrinsic_touch(call, function, m->name, m->name_bytes, false);
    if (m->control)
        stem_intrinsic_touch(call, function, m->control, m->control_bytes, false);
    call->rax = stem_intrinsic_real(call);
}

AROUND(recvmsg)
{
    const struct message *m = (const struct message *)call->arg[1];
    struct message asked = *m;
    struct pieces pieces;
    expect_pieces(&pieces, (const struct piece *)m->pieces,
                  piece_count(call, function, m->pieces, m->piece_count));
    if (m->name)
        stem_intrinsic_log_room(m->name, m->name_bytes < ROOM_BYTES ? m->name_bytes : ROOM_BYTES);
    if (m->control)
        stem_intrinsic_log_room(m->control, m->control_bytes < ROOM_BYTES ? m->control_bytes : ROOM_BYTES);
    call->rax = stem_intrinsic_real(call);
    if ((int64_t)call->rax < 0)
        return;
    touch_pieces(call, function, pieces.piece, pieces.count, call->rax, true);
    if (asked.name)
        stem_intrinsic_touch(call, function, asked.name,
                             m->name_bytes < asked.name_bytes ? m->name_bytes : asked.name_bytes, true);
    if (asked.control && m->control_bytes <= asked.control_bytes)
        stem_intrinsic_touch(call, function, asked.control, m->control_bytes, true);
}

/* ---- an address and its length, which is the room before and the size after ---- */

struct address {
    uintptr_t to, length;
    uint32_t room;
};

static struct address expect_address(struct stem_call *call, const struct intrinsic *function, unsigned to)
{
    struct address a = {call->arg[to], call->arg[to + 1], 0};
    if (!a.to || !a.length || !stem_intrinsic_touch(call, function, a.length, 4, true))
        return (struct address){0};
    a.room = *(const uint32_t *)a.length;
    if ((int32_t)a.room < 0)
        return (struct address){0};
    stem_undo_log(a.length, 4);
    stem_intrinsic_log_room(a.to, a.room < ROOM_BYTES ? a.room : ROOM_BYTES);
    return a;
}

static void address_written(struct stem_call *call, const struct intrinsic *function, const struct address *a)
{
    if (!a->to)
        return;
    uint32_t bytes = *(const uint32_t *)a->length;
    stem_intrinsic_touch(call, function, a->to, bytes < a->room ? bytes : a->room, true);
}

AROUND(address)
{
    struct address a = expect_address(call, function, 1);
    call->rax = stem_intrinsic_real(call);
    if ((int32_t)call->rax >= 0)
        address_written(call, function, &a);
}

AROUND(accept)
{
    stem_around_address(call, function);
    stem_intrinsic_opened(call);
}

AROUND(getsockopt)
{
    struct address a = expect_address(call, function, 3);
    call->rax = stem_intrinsic_real(call);
    if ((int32_t)call->rax >= 0)
        address_written(call, function, &a);
}

AROUND(recvfrom)
{
    struct address a = expect_address(call, function, 4);
    stem_around_count_result(call, function);
    if ((int64_t)call->rax >= 0)
        address_written(call, function, &a);
}
