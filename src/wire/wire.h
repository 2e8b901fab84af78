/* wire: layouts that two processes share. control.h is the page between a supervisor and the supervised
   program, counting.h the file beside it in which a
   profile is recorded, allocators.h the text of a part of it; the other headers are records that travel over the community's bus: envelope.h around each of them,
   alert.h, vaccine.h, status.h, and talk.h for what steward and members say to each other directly. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "core/core.h"
#include "wire/control.h"
#include "wire/counting.h"
#include "wire/allocators.h"
#include "wire/bytes.h"
#include "wire/envelope.h"
#include "wire/alert.h"
#include "wire/vaccine.h"
#include "wire/status.h"
#include "wire/talk.h"
#include "wire/manifest.h"
#include "wire/bid.h"

#endif
