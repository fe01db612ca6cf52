// Makes the header a target: SwiftPM builds a C target from at least one source file.
// Nothing is defined here.
#include "CZlib.h"
