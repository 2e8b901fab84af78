/* Encodes, checks and walks manifests. Freestanding: no allocation, no libc. */
#include "wire/manifest.h"

/* ---- writing ---- */

static void put(struct wire_manifest_writer *w, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++, w->used++, value >>= 8)
        if (w->used < w->room)
            w->data[w->used] = (uint8_t)value;
}

static void put_bytes(struct wire_manifest_writer *w, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    for (size_t i = 0; i < bytes; i++, w->used++)
        if (w->used < w->room)
            w->data[w->used] = from[i];
}

void wire_manifest_begin(struct wire_manifest_writer *w, const struct wire_manifest *m)
{
    w->used = 0;
    put_bytes(w, WIRE_MANIFEST_MAGIC, 8);
    put(w, WIRE_MANIFEST_VERSION, 2);
    put(w, m->metric, 1);
    put(w, m->assign, 1);
    put(w, m->members, 4);
    put(w, m->quanta, 4);
    put(w, m->quantum_ms, 4);
    put(w, m->eps_ppm, 4);
    put(w, m->seed, 8);
    put(w, m->epoch, 8);
    put(w, m->total, 8);
    put(w, m->object_count, 2);
    put(w, m->function_count, 4);
}

void wire_manifest_add_object(struct wire_manifest_writer *w, const struct wire_manifest_object *o)
{
    put(w, o->build_id_bytes, 1);
    put_bytes(w, o->build_id, o->build_id_bytes);
    put(w, o->name_bytes, 2);
    put_bytes(w, o->name, o->name_bytes);
}

void wire_manifest_add_function(struct wire_manifest_writer *w, const struct wire_manifest_function *f)
{
    put(w, f->object, 2);
    put(w, f->offset, 4);
    put(w, f->cost, 8);
    put(w, f->calls, 8);
    put(w, f->risk_ppm, 8);
    put(w, f->tokens, 8);
    put(w, f->distance, 4);
    put(w, f->name_bytes, 2);
    put_bytes(w, f->name, f->name_bytes);
}

void wire_manifest_end(struct wire_manifest_writer *w)
{
    put(w, w->used <= w->room ? core_hash(CORE_HASH_SEED, w->data, w->used) : 0, 8);
}

/* ---- reading ---- */

struct input {
    const uint8_t *data;
    size_t bytes, at;
    bool is_short;
};

static uint64_t get(struct input *in, unsigned bytes)
{
    uint64_t value = 0;
    if (in->bytes - in->at < bytes) {
        in->is_short = true;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)in->data[in->at + i] << (8 * i);
    in->at += bytes;
    return value;
}

static const void *get_bytes(struct input *in, size_t bytes)
{
    if (in->bytes - in->at < bytes) {
        in->is_short = true;
        return NULL;
    }
    const void *at = in->data + in->at;
    in->at += bytes;
    return at;
}

static void get_object(struct wire_manifest_object *o, struct input *in)
{
    o->build_id_bytes = (uint32_t)get(in, 1);
    o->build_id = get_bytes(in, o->build_id_bytes);
    o->name_bytes = (uint32_t)get(in, 2);
    o->name = get_bytes(in, o->name_bytes);
}

static void get_function(struct wire_manifest_function *f, struct input *in)
{
    f->object = (uint32_t)get(in, 2);
    f->offset = (uint32_t)get(in, 4);
    f->cost = get(in, 8);
    f->calls = get(in, 8);
    f->risk_ppm = get(in, 8);
    f->tokens = get(in, 8);
    f->distance = (uint32_t)get(in, 4);
    f->name_bytes = (uint32_t)get(in, 2);
    f->name = get_bytes(in, f->name_bytes);
}

static bool is_text(const char *name, uint32_t bytes)
{
    if (bytes == 0 || bytes > WIRE_MANIFEST_NAME_MAX)
        return false;
    for (uint32_t i = 0; i < bytes; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return false;
    return true;
}

int wire_manifest_open(struct wire_manifest *m, const void *data, size_t bytes)
{
    struct input in = {.data = data, .bytes = bytes};
    *m = (struct wire_manifest){.data = data, .bytes = bytes};
    const char *magic = get_bytes(&in, 8);
    if (!magic)
        return WIRE_MANIFEST_SHORT;
    for (unsigned i = 0; i < 8; i++)
        if (magic[i] != WIRE_MANIFEST_MAGIC[i])
            return WIRE_MANIFEST_FOREIGN;
    if (get(&in, 2) != WIRE_MANIFEST_VERSION)
        return in.is_short ? WIRE_MANIFEST_SHORT : WIRE_MANIFEST_FOREIGN;
    m->metric = (uint8_t)get(&in, 1);
    m->assign = (uint8_t)get(&in, 1);
    m->members = (uint32_t)get(&in, 4);
    m->quanta = (uint32_t)get(&in, 4);
    m->quantum_ms = (uint32_t)get(&in, 4);
    m->eps_ppm = (uint32_t)get(&in, 4);
    m->seed = get(&in, 8);
    m->epoch = get(&in, 8);
    m->total = get(&in, 8);
    m->object_count = (uint32_t)get(&in, 2);
    m->function_count = (uint32_t)get(&in, 4);
    if (in.is_short)
        return WIRE_MANIFEST_SHORT;
    if (m->metric > WIRE_MANIFEST_NANOSECONDS || m->assign > WIRE_MANIFEST_BID || m->members == 0 ||
        m->members > WIRE_MANIFEST_MEMBERS_MAX || m->quanta == 0 || m->quanta > WIRE_MANIFEST_QUANTA_MAX ||
        m->quantum_ms == 0 || m->eps_ppm > 1000000 || m->object_count == 0 ||
        m->object_count > WIRE_MANIFEST_OBJECTS_MAX || m->function_count == 0 ||
        m->function_count > WIRE_MANIFEST_FUNCS_MAX)
        return WIRE_MANIFEST_RANGE;

    m->objects_at = in.at;
    for (uint32_t i = 0; i < m->object_count; i++) {
        struct wire_manifest_object o;
        get_object(&o, &in);
        if (in.is_short)
            return WIRE_MANIFEST_SHORT;
        if (o.build_id_bytes == 0 || o.build_id_bytes > 20)
            return WIRE_MANIFEST_RANGE;
        if (!is_text(o.name, o.name_bytes))
            return WIRE_MANIFEST_TEXT;
    }
    m->functions_at = in.at;
    uint64_t sum = 0, before = 0;
    for (uint32_t i = 0; i < m->function_count; i++) {
        struct wire_manifest_function f;
        get_function(&f, &in);
        if (in.is_short)
            return WIRE_MANIFEST_SHORT;
        if (f.object >= m->object_count || f.risk_ppm < 1000000 || f.risk_ppm > WIRE_MANIFEST_RISK_MAX ||
            f.tokens > (uint64_t)m->members * m->quanta || __builtin_add_overflow(sum, f.cost, &sum) ||
            sum > m->total)
            return WIRE_MANIFEST_RANGE;
        uint64_t place = ((uint64_t)f.object << 32 | f.offset) + 1;
        if (place <= before)
            return WIRE_MANIFEST_ORDER;
        before = place;
        if (!is_text(f.name, f.name_bytes))
            return WIRE_MANIFEST_TEXT;
    }
    uint64_t wanted = core_hash(CORE_HASH_SEED, data, in.at), hash = get(&in, 8);
    if (in.is_short)
        return WIRE_MANIFEST_SHORT;
    if (hash != wanted)
        return WIRE_MANIFEST_HASH;
    return in.at == bytes ? WIRE_MANIFEST_OK : WIRE_MANIFEST_TRAILING;
}

bool wire_manifest_next_object(struct wire_manifest_object *o, struct wire_manifest_cursor *cursor,
                               const struct wire_manifest *m)
{
    if (cursor->index == m->object_count)
        return false;
    struct input in = {.data = m->data, .bytes = m->bytes, .at = cursor->at ? cursor->at : m->objects_at};
    get_object(o, &in);
    *cursor = (struct wire_manifest_cursor){in.at, cursor->index + 1};
    return true;
}

bool wire_manifest_next_function(struct wire_manifest_function *f, struct wire_manifest_cursor *cursor,
                                 const struct wire_manifest *m)
{
    if (cursor->index == m->function_count)
        return false;
    struct input in = {.data = m->data, .bytes = m->bytes, .at = cursor->at ? cursor->at : m->functions_at};
    get_function(f, &in);
    *cursor = (struct wire_manifest_cursor){in.at, cursor->index + 1};
    return true;
}

const char *wire_manifest_problem(int error)
{
    switch (error) {
    case WIRE_MANIFEST_OK:
        return "a whole manifest";
    case WIRE_MANIFEST_SHORT:
        return "the manifest is cut off";
    case WIRE_MANIFEST_FOREIGN:
        return "not a manifest, or one of another version";
    case WIRE_MANIFEST_RANGE:
        return "a number in the manifest is out of range";
    case WIRE_MANIFEST_ORDER:
        return "the manifest's functions are out of order";
    case WIRE_MANIFEST_TEXT:
        return "the manifest holds a malformed name";
    case WIRE_MANIFEST_TRAILING:
        return "bytes follow behind the manifest's end";
    case WIRE_MANIFEST_HASH:
        return "the manifest is damaged";
    default:
        return "the manifest cannot be read";
    }
}
