/* wire: layouts that two processes share. control.h is the page between a supervisor and the supervised
   program; the other headers are records that travel over the community's bus. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "core/core.h"
#include "wire/control.h"

#endif
