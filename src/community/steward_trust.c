/* What one member's word may cost: vaccines that nobody else vouches for may together take eps of a slice, by the rule that the
   simulator plays with liars (model_admits). Costs come from the manifest. */
#include "community/steward.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

enum { VOUCHERS = 2 };

static bool same_build(const struct steward_cost_object *o, const struct wire_place *place)
{
    return o->build_id_bytes == place->build_id_bytes &&
           memcmp(o->build_id, place->build_id, place->build_id_bytes) == 0;
}

/* Part of the run time that watching the function always adds. What the manifest does not hold did no work when the
   program was profiled. */
static double cost_of(const struct steward_costs *t, const struct wire_place *place)
{
    for (uint32_t o = 0; o < t->object_count; o++) {
        if (!same_build(&t->objects[o], place))
            continue;
        size_t low = 0, high = t->count;
        while (low < high) {
            size_t middle = (low + high) / 2;
            const struct steward_cost *f = &t->list[middle];
            if (f->object < o || (f->object == o && f->offset < place->offset))
                low = middle + 1;
            else
                high = middle;
        }
        if (low < t->count && t->list[low].object == o && t->list[low].offset == place->offset)
            return t->list[low].cost;
    }
    return 0;
}

/* Takes costs and budget out of the manifest; read once. Without one, or without memory, nothing is known of costs. */
static void read_manifest(struct steward_costs *t, const struct community_steward *s)
{
    struct wire_envelope envelope;
    struct wire_manifest m;
    struct wire_manifest_cursor at = {0};
    struct wire_manifest_object object;
    struct wire_manifest_function f;
    if (t->manifest == s->manifest_sequence)
        return;
    community_steward_forget_costs(t);
    t->manifest = s->manifest_sequence;
    if (!s->manifest || wire_envelope_decode(&envelope, s->manifest, s->manifest_bytes) ||
        wire_manifest_open(&m, envelope.payload, envelope.payload_bytes) || m.total == 0)
        return;
    t->objects = calloc(m.object_count, sizeof *t->objects);
    t->list = calloc(m.function_count, sizeof *t->list);
    if (!t->objects || !t->list)
        return;
    while (wire_manifest_next_object(&object, &at, &m)) {
        struct steward_cost_object *o = &t->objects[t->object_count++];
        o->build_id_bytes = (uint8_t)object.build_id_bytes;
        memcpy(o->build_id, object.build_id, object.build_id_bytes);
    }
    double slice = 0;
    at = (struct wire_manifest_cursor){0};
    while (wire_manifest_next_function(&f, &at, &m)) {
        double cost = (double)f.cost,
               extra = model_vaccine_cost(cost, (double)m.total, f.tokens, m.members, m.quanta);
        t->list[t->count++] = (struct steward_cost){f.object, f.offset, extra};
        slice += cost / (double)m.total - extra;
    }
    t->budget = m.eps_ppm / 1e6 * slice;
}

bool community_steward_admits(struct community_steward *s, const struct known_class *wanted)
{
    struct steward_costs *t = &s->costs;
    read_manifest(t, s);
    struct model_trust trust = {.budget = t->budget, .vouchers = VOUCHERS};
    if (t->count == 0)
        return true;
    /* Added up anew each time: other stewards publish too, a second member's word takes a vaccine out of the sum, and so does
       who withdraws it. */
    for (unsigned i = 0; i < s->class_count; i++) {
        const struct known_class *c = &s->classes[i];
        if (c->sequence && c->member_count < VOUCHERS && c->vaccine.members < VOUCHERS &&
            c->vaccine.state != WIRE_VACCINE_WITHDRAWN)
            trust.spent += cost_of(t, &c->vaccine.function);
    }
    double cost = cost_of(t, &wanted->vaccine.function);
    if (model_admits(&trust, cost, wanted->member_count))
        return true;
    community_steward_note(
        s,
        "%s in %s waits for a second member: to watch it takes %.3g%% of the run time, and what rests on one "
        "word has %.3g%% of %.3g%%",
        wanted->vaccine.function.symbol[0] ? wanted->vaccine.function.symbol : "?",
        wanted->vaccine.function.object, 100 * cost, 100 * trust.spent, 100 * trust.budget);
    return false;
}

void community_steward_forget_costs(struct steward_costs *t)
{
    free(t->objects);
    free(t->list);
    *t = (struct steward_costs){0};
}
