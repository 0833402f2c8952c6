#include "api.h"

#include <cstdarg>
#include <cstdio>

namespace {
// What this thread's calls said last.
thread_local char last[2048] = "";
}

namespace emulator {

void say(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last, sizeof last, format, arguments);
    va_end(arguments);
    fprintf(stderr, "emulated GPU: %s\n", last);
    fflush(stderr);
}

}  // namespace emulator

// The latest line that a call of this thread led to.
API const char* emulator_last_words() {
    return last;
}
