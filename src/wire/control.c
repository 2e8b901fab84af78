/* The control page's offsets, checked where both sides link them. */
#include "wire/wire.h"

_Static_assert(offsetof(struct wire_control, doorbell) == 24, "doorbell is a futex word at a fixed place");
_Static_assert(sizeof(((struct wire_control *)0)->faults[0].registers) == 17 * 8, "DWARF registers 0..16");
