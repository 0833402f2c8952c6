#include "stream.h"
#include "settings.h"

#include <map>

namespace emulator {

std::recursive_mutex& engine() {
    static auto* only = new std::recursive_mutex;
    return *only;
}

Device* device(int number) {
    std::lock_guard<std::recursive_mutex> lock(engine());
    static auto* all = new std::map<int, Device>;
    if (number < 0 || number >= settings::devices.value) {
        return nullptr;
    }
    Device& found = (*all)[number];
    found.number = number;
    return &found;
}

void drain(Stream* stream, unsigned long position) {
    std::lock_guard<std::recursive_mutex> lock(engine());
    while (stream->done < position && !stream->waiting.empty()) {
        std::function<void()> work = std::move(stream->waiting.front());
        stream->waiting.pop_front();
        work();
        stream->done++;
    }
}

void drain(Device* device) {
    std::lock_guard<std::recursive_mutex> lock(engine());
    for (Stream* stream : device->streams) {
        drain(stream, stream->enqueued);
    }
}

void enqueue(Stream* stream, std::function<void()> work) {
    std::lock_guard<std::recursive_mutex> lock(engine());
    bool fallback = stream == &stream->device->fallback;
    if (fallback) {
        for (Stream* other : stream->device->streams) {
            if (other->blocking) {
                drain(other, other->enqueued);
            }
        }
    }
    stream->enqueued++;
    stream->waiting.push_back(std::move(work));
    if (fallback || settings::deferred.value == 0) {
        drain(stream, stream->enqueued);
    }
}

}  // namespace emulator
