// What this process may do: compute, and talk over the descriptors it inherited.
#ifndef CLEAVE_SANDBOX_H
#define CLEAVE_SANDBOX_H

#include <stddef.h>

// The layers that are in force.
enum {
	SANDBOX_LIMITS = 1,
	SANDBOX_LANDLOCK = 2, // not on kernels before 5.13
	SANDBOX_SECCOMP = 4,
};

// The layers in force.
int sandbox_state(void);

// Tries what is forbidden. Returns the errno, 0 if it worked, -1 for an unknown name.
int sandbox_attempt(const char *what);

#endif
