/* An Apache module with a fault that no malloc sees: /fragile/over writes the name that it is asked with into a block of the
   request's pool that is too short for it, over the block behind. It stands in for mod_fragile in the same configuration. */
#include <apr_strings.h>
#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>

#include <string.h>

__attribute__((noinline)) static void keep_name(char *block, const char *name)
{
    while (*name)
        *block++ = *name++;
    *block = 0;
}

static int handle(request_rec *r)
{
    if (!r->handler || strcmp(r->handler, "fragile"))
        return DECLINED;
    const char *name = r->args && !strncmp(r->args, "name=", 5) ? r->args + 5 : "";
    char *kept = apr_palloc(r->pool, 24), *greeting = apr_pstrdup(r->pool, "salve ");
    keep_name(kept, name);
    ap_set_content_type(r, "text/plain");
    ap_rprintf(r, "%s%.24s\n", greeting, kept);
    return OK;
}

static void hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA fragile_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, hooks, 0};
