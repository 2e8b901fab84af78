/* Rosters and bids: encode, decode, validate. */
#include "wire/wire.h"

enum { ABSENT_BYTES = 5 };

size_t wire_roster_encode(void *data, size_t room, const struct wire_roster *roster, const uint8_t *died)
{
    struct wire_writer w;
    uint32_t absent = 0;
    if (roster->members == 0 || roster->members > WIRE_ROSTER_MEMBERS_MAX || roster->version == 0)
        return 0;
    for (uint32_t m = 0; m < roster->members; m++)
        absent += died[m] != 0;
    wire_writer_start(&w, data, room);
    wire_put(&w, WIRE_ROSTER_MAGIC, 4);
    wire_put(&w, WIRE_RECORD_VERSION, 1);
    wire_put(&w, roster->manifest, 8);
    wire_put(&w, roster->epoch, 8);
    wire_put(&w, roster->sitting, 8);
    wire_put(&w, roster->version, 1);
    wire_put(&w, roster->members, 4);
    wire_put(&w, absent, 4);
    for (uint32_t m = 0; m < roster->members; m++)
        if (died[m]) {
            wire_put(&w, m, 4);
            wire_put(&w, died[m], 1);
        }
    return wire_writer_end(&w);
}

/* The absent stand in order, each once, with a version that there has been, and somebody is there. */
static void check_list(struct wire_reader *r, const struct wire_roster *roster)
{
    struct wire_reader list;
    uint32_t next = 0;
    wire_reader_start(&list, roster->list, (size_t)roster->absent * ABSENT_BYTES);
    for (uint32_t i = 0; i < roster->absent && !r->failed; i++) {
        uint32_t member = (uint32_t)wire_get(&list, 4);
        uint8_t died = (uint8_t)wire_get(&list, 1);
        if (member < next || member >= roster->members || died == 0 || died > roster->version)
            wire_refuse(r, WIRE_RANGE);
        next = member + 1;
    }
}

enum wire_verdict wire_roster_decode(struct wire_roster *roster, const void *data, size_t bytes)
{
    struct wire_reader r;
    wire_reader_start(&r, data, bytes);
    __builtin_memset(roster, 0, sizeof *roster);
    if (wire_get(&r, 4) != WIRE_ROSTER_MAGIC)
        wire_refuse(&r, WIRE_MAGIC);
    if (wire_get(&r, 1) != WIRE_RECORD_VERSION)
        wire_refuse(&r, WIRE_VERSION);
    roster->manifest = wire_get(&r, 8);
    roster->epoch = wire_get(&r, 8);
    roster->sitting = wire_get(&r, 8);
    roster->version = (uint8_t)wire_get(&r, 1);
    roster->members = (uint32_t)wire_get_upto(&r, 4, WIRE_ROSTER_MEMBERS_MAX);
    roster->absent = (uint32_t)wire_get_upto(&r, 4, WIRE_ROSTER_MEMBERS_MAX);
    if (roster->version == 0 || roster->absent >= roster->members)
        wire_refuse(&r, WIRE_RANGE);
    roster->list = wire_get_span(&r, (size_t)roster->absent * ABSENT_BYTES);
    if (!r.failed && roster->list)
        check_list(&r, roster);
    return wire_reader_end(&r);
}

void wire_roster_died(uint8_t *died, const struct wire_roster *roster)
{
    struct wire_reader r;
    for (uint32_t m = 0; m < roster->members; m++)
        died[m] = 0;
    wire_reader_start(&r, roster->list, (size_t)roster->absent * ABSENT_BYTES);
    for (uint32_t i = 0; i < roster->absent; i++) {
        uint32_t member = (uint32_t)wire_get(&r, 4);
        died[member] = (uint8_t)wire_get(&r, 1);
    }
}

size_t wire_bid_encode(void *data, size_t room, const struct wire_bid *bid)
{
    struct wire_writer w;
    wire_writer_start(&w, data, room);
    wire_put(&w, WIRE_BID_MAGIC, 4);
    wire_put(&w, WIRE_RECORD_VERSION, 1);
    wire_put(&w, bid->sitting, 8);
    wire_put(&w, bid->from, 4);
    wire_put(&w, bid->to, 4);
    wire_put(&w, bid->life, 4);
    wire_put(&w, bid->since, 1);
    wire_put(&w, bid->kind, 1);
    return wire_writer_end(&w);
}

enum wire_verdict wire_bid_decode(struct wire_bid *bid, const void *data, size_t bytes)
{
    struct wire_reader r;
    wire_reader_start(&r, data, bytes);
    __builtin_memset(bid, 0, sizeof *bid);
    if (wire_get(&r, 4) != WIRE_BID_MAGIC)
        wire_refuse(&r, WIRE_MAGIC);
    if (wire_get(&r, 1) != WIRE_RECORD_VERSION)
        wire_refuse(&r, WIRE_VERSION);
    bid->sitting = wire_get(&r, 8);
    bid->from = (uint32_t)wire_get_upto(&r, 4, WIRE_ROSTER_MEMBERS_MAX - 1);
    bid->to = (uint32_t)wire_get_upto(&r, 4, WIRE_ROSTER_MEMBERS_MAX - 1);
    bid->life = (uint32_t)wire_get(&r, 4);
    bid->since = (uint8_t)wire_get(&r, 1);
    bid->kind = (uint8_t)wire_get_upto(&r, 1, 2);
    return wire_reader_end(&r);
}
