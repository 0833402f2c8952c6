#include "api.h"

#include <cstdarg>
#include <cstdio>
#include <string>

namespace {
// What this thread's calls said last. Small: a library that comes late shares little thread-local memory with others.
thread_local std::string last;
}

namespace emulator {

void say(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char line[2048];
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    last = line;
    fprintf(stderr, "emulated GPU: %s\n", line);
    fflush(stderr);
}

}  // namespace emulator

// The latest line that a call of this thread led to.
API const char* emulator_last_words() {
    return last.c_str();
}
