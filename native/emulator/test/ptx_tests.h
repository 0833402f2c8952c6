#pragma once

// What a warp's lanes do together.
void warps();
// Memory of all spaces, barriers, atomic operations.
void memory_of_blocks();
// Each kind of fault is found, and named.
void faults();
