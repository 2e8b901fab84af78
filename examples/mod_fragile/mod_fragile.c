/* mod_fragile: an Apache module with three planted faults, for demonstrations and tests. Never load it into a
   server that others can reach.

   /fragile/ok       a normal page: greets `name`
   /fragile/state    this child's tally: what its requests have left behind
   /fragile/sign     puts `name` into a guest's record on the heap; a long one runs over the records behind it
   /fragile/price    price of `item`; an unknown one dereferences a null pointer
   /fragile/agent    notes `name` in a line on the stack; a long one smashes it

   Each fault sits in a small function of its own that answers -1 when it cannot do its work; the handler then
   sends status 500. Each writes to the child's tally before it comes to its fault, so that one can see
   whether a fault was undone. Natively each attack kills the child that serves it. Every answer names its
   child in X-Fragile-Child. */
#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>
#include <apr_strings.h>
#include <string.h>
#include <unistd.h>

enum { GUESTS = 64, SEATS = 4, NAME_BYTES = 48, LINE_BYTES = 64 };

/* One heap block each, a list over all of them: a neighbour's `next` is what an overflow meets first. Names
   go to records in the middle of the list, which have neighbours behind them in whichever order an allocator
   hands blocks out. */
struct guest {
    struct guest *next;
    unsigned visits;
    char name[];
};

static struct {
    unsigned signed_names, priced, agents;
    const char *last;
} tally = {.last = "nothing"};

static struct guest *guests;

static const struct item {
    const char *name;
    int price;
} items[] = {{"helmet", 90}, {"shield", 120}, {"sandals", 15}};

static int hex(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Decodes %XX into the next guest's name and answers the length of the longest name of all, or -1. The
   planted fault: the record has room for NAME_BYTES, the query for thousands. */
static __attribute__((noinline)) int sign_guest(const char *query)
{
    if (!query || !guests)
        return -1;
    struct guest *guest = guests;
    for (unsigned skip = GUESTS / 2 + tally.signed_names % SEATS; skip > 0 && guest->next; skip--)
        guest = guest->next;
    tally.signed_names++;
    tally.last = "sign";
    guest->visits++;

    char *out = guest->name;
    while (*query) {
        if (*query == '%' && hex(query[1]) >= 0 && hex(query[2]) >= 0) {
            *out++ = (char)(hex(query[1]) << 4 | hex(query[2]));
            query += 3;
        } else {
            *out++ = *query++;
        }
    }
    *out = 0;

    int longest = 0;
    for (struct guest *each = guests; each; each = each->next) {
        int length = 0;
        while (each->name[length])
            length++;
        longest = length > longest ? length : longest;
    }
    return longest;
}

static const struct item *find_item(const char *name)
{
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++)
        if (strcmp(items[i].name, name) == 0)
            return &items[i];
    return NULL;
}

/* The price of an item, or -1. The planted fault: an item that is not in the table. */
static __attribute__((noinline)) int item_price(const char *name)
{
    if (!name || !*name)
        return -1;
    tally.priced++;
    tally.last = "price";
    const struct item *item = find_item(name);
    return item->price;
}

/* Answers how many letters of the line are lower case, or -1. The planted fault: strcpy of the query into
 * LINE_BYTES. */
static __attribute__((noinline)) int note_agent(const char *name)
{
    char line[LINE_BYTES];
    if (!name || !*name)
        return -1;
    tally.agents++;
    tally.last = "agent";
    strcpy(line, name);
    int lower = 0;
    for (const char *each = line; *each; each++)
        lower += *each >= 'a' && *each <= 'z';
    return lower;
}

/* The value of `name=` when the query is just that, else NULL. */
static const char *argument(const request_rec *r, const char *name)
{
    size_t length = strlen(name);
    return r->args && strncmp(r->args, name, length) == 0 && r->args[length] == '=' ? r->args + length + 1
                                                                                    : NULL;
}

static int answer(request_rec *r, const char *what, int value)
{
    if (value < 0)
        return HTTP_INTERNAL_SERVER_ERROR;
    ap_rprintf(r, "%s %d\n", what, value);
    return OK;
}

static int fragile_handler(request_rec *r)
{
    if (!r->handler || strcmp(r->handler, "fragile") != 0)
        return DECLINED;
    if (r->method_number != M_GET)
        return HTTP_METHOD_NOT_ALLOWED;
    ap_set_content_type(r, "text/plain");
    apr_table_setn(r->err_headers_out, "X-Fragile-Child", apr_ltoa(r->pool, getpid()));
    const char *page = r->path_info && *r->path_info ? r->path_info : r->uri + strlen("/fragile");
    const char *name = argument(r, "name");
    if (strcmp(page, "/ok") == 0) {
        ap_rprintf(r, "salve %s\n", name ? ap_escape_html(r->pool, name) : "viator");
        return OK;
    }
    if (strcmp(page, "/state") == 0) {
        ap_rprintf(r, "signed %u priced %u agents %u last %s\n", tally.signed_names, tally.priced,
                   tally.agents, tally.last);
        return OK;
    }
    if (strcmp(page, "/sign") == 0)
        return answer(r, "longest", sign_guest(name));
    if (strcmp(page, "/price") == 0)
        return answer(r, "price", item_price(argument(r, "item")));
    if (strcmp(page, "/agent") == 0)
        return answer(r, "lower", note_agent(name));
    return HTTP_NOT_FOUND;
}

static void fragile_child(apr_pool_t *pool, server_rec *server)
{
    (void)pool;
    (void)server;
    for (int i = 0; i < GUESTS; i++) {
        struct guest *guest = calloc(1, sizeof *guest + NAME_BYTES);
        if (!guest)
            return;
        guest->next = guests;
        guests = guest;
    }
}

static void fragile_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_child_init(fragile_child, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(fragile_handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(fragile) = {.version = MODULE_MAGIC_NUMBER_MAJOR,
                              .minor_version = MODULE_MAGIC_NUMBER_MINOR,
                              .module_index = -1,
                              .name = "mod_fragile.c",
                              .magic = MODULE_MAGIC_COOKIE,
                              .register_hooks = fragile_hooks};
