// Streams and events: what is enqueued runs in the order of its stream, at once or (setting "deferred") as late as allowed.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

namespace emulator {

struct Device;

struct Stream {
    Device* device;
    bool blocking;  // whether work on the default stream waits for it
    unsigned long enqueued = 0, done = 0;
    std::deque<std::function<void()>> waiting;
};

struct Event {
    Stream* stream = nullptr;
    unsigned long position = 0;  // what of the stream precedes it
    std::chrono::steady_clock::time_point time;
    bool recorded = false;
};

struct Device {
    int number = 0;
    long retained = 0;
    int sticky = 0;  // a kernel's failure: every later call answers it
    std::vector<Stream*> streams;
    Stream fallback{this, true, 0, 0, {}};  // the default stream
};

// Held while anything about devices, streams or events changes, and while enqueued work runs.
std::recursive_mutex& engine();

Device* device(int number);
// Enqueues; work on the default stream runs at once, after that of all blocking streams.
void enqueue(Stream* stream, std::function<void()> work);
// Runs what a stream has to do up to a position.
void drain(Stream* stream, unsigned long position);
void drain(Device* device);

}  // namespace emulator
