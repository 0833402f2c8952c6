#include "api.h"

#include <cstdarg>
#include <cstdio>

namespace emulator {

void say(const char* format, ...) {
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "emulated GPU: %s\n", text);
    fflush(stderr);
}

}  // namespace emulator
