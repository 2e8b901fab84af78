#include "stem/engine.h"
enum stem_callee stem_intrinsic_find(core_cache_pc *thunk, const char *symbol)
{
    (void)thunk;
    (void)symbol;
    static const char *const esc[] = {"setjmp",
                                      "_setjmp",
                                      "__sigsetjmp",
                                      "sigsetjmp",
                                      "vfork",
                                      "getcontext",
                                      "swapcontext",
                                      "dlopen",
                                      "dlsym",
                                      "dlvsym",
                                      "dlmopen",
                                      "backtrace",
                                      "_Unwind_RaiseException",
                                      "__cxa_throw",
                                      "_Unwind_Resume"};
    for (unsigned i = 0; i < sizeof esc / sizeof *esc; i++)
        if (core_glob(esc[i], symbol))
            return STEM_CALLEE_ESCAPE;
    return STEM_CALLEE_PLAIN;
}
const char *stem_intrinsic_name(const struct stem_call *call)
{
    (void)call;
    return "";
}
