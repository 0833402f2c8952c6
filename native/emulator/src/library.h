// What the stand-ins for NVIDIA's libraries use of the emulated driver, which they are linked to.
#pragma once

#include <cstddef>

extern "C" {
int emulator_current_device();
int emulator_check_device_range(const char* what, const void* address, size_t bytes);
int emulator_submit(void* stream, void (*work)(const void*), const void* argument, size_t bytes);
long emulator_get(const char* name);
}
