#include "launch.h"
#include "api.h"
#include "guard.h"
#include "ptx/block.h"
#include "ptx/counts.h"
#include "settings.h"

#include <dlfcn.h>
#include <link.h>

#include <atomic>
#include <cstdio>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

namespace emulator {

namespace {

// The thread-local memory of the library that an address belongs to: static shared memory of all its kernels.
Range thread_local_range(const void* anchor) {
    static thread_local const void* known_anchor = nullptr;
    static thread_local Range known;
    if (anchor == known_anchor) {
        return known;
    }
    struct Search {
        const unsigned char* anchor;
        Range found;
    } search{static_cast<const unsigned char*>(anchor), {nullptr, 0}};
    dl_iterate_phdr([](dl_phdr_info* info, size_t, void* argument) {
        auto* s = static_cast<Search*>(argument);
        for (int i = 0; i < info->dlpi_phnum; i++) {
            const auto& header = info->dlpi_phdr[i];
            Range range{static_cast<const unsigned char*>(info->dlpi_tls_data), header.p_memsz};
            if (header.p_type == PT_TLS && range.start != nullptr && range.holds(s->anchor, 1)) {
                s->found = range;
                return 1;
            }
        }
        return 0;
    }, &search);
    known_anchor = anchor;
    known = search.found;
    return known;
}

// Where the library that holds an address is loaded.
std::vector<Range> program_ranges(const void* address) {
    struct Search {
        const unsigned char* address;
        std::vector<Range> found;
    } search{static_cast<const unsigned char*>(address), {}};
    dl_iterate_phdr([](dl_phdr_info* info, size_t, void* argument) {
        auto* s = static_cast<Search*>(argument);
        std::vector<Range> ranges;
        bool holds = false;
        for (int i = 0; i < info->dlpi_phnum; i++) {
            const auto& header = info->dlpi_phdr[i];
            if (header.p_type == PT_LOAD) {
                ranges.push_back({reinterpret_cast<const unsigned char*>(info->dlpi_addr + header.p_vaddr), header.p_memsz});
                holds |= ranges.back().holds(s->address, 1);
            }
        }
        s->found = holds ? ranges : s->found;
        return int(holds);
    }, &search);
    return search.found;
}

// The line of the source that an address in a kernel comes from, if the machine has binutils; else nothing.
std::string source_line(const void* place) {
    Dl_info library;
    if (place == nullptr || dladdr(place, &library) == 0) {
        return "";
    }
    char command[4200], line[4096] = "";
    // the address is where a call returns to: the call lies before it
    snprintf(command, sizeof command, "addr2line -e '%s' 0x%zx 2>/dev/null", library.dli_fname,
            size_t(static_cast<const char*>(place) - static_cast<const char*>(library.dli_fbase)) - 1);
    if (FILE* output = popen(command, "r")) {
        if (fgets(line, sizeof line, output) == nullptr) {
            line[0] = 0;
        }
        pclose(output);
    }
    std::string text(line);
    text = text.substr(0, text.find('\n'));
    return text.empty() || text[0] == '?' ? "" : " (" + text.substr(text.rfind('/') + 1) + ")";
}

struct Job {
    const Function& function;
    void** parameters;
    dim3 grid, block;
    size_t shared_bytes;
    bool reversed;
    long blocks;
    GuardedMemory memory;
    std::vector<uint64_t> packed;  // parameters as PTX lays them out
    ptx::Launch launch{};

    Job(const Function& f, void** p, dim3 g, dim3 b, size_t s)
        : function(f), parameters(p), grid(g), block(b), shared_bytes(s), reversed(settings::reversed.value != 0),
          blocks(long(g.x) * g.y * g.z) {
        if (f.module->guarded || f.code != nullptr) {
            memory.pieces = MemoryMap(pieces_of(f.module->device));
        }
        if (f.code != nullptr) {
            packed.resize(f.code->parameter_bytes / 8 + 1);
            for (size_t i = 0; i < f.parameter_sizes.size(); i++) {
                memcpy(reinterpret_cast<char*>(packed.data()) + f.code->parameter_offsets[i], p[i], f.parameter_sizes[i]);
            }
            launch = {f.code, reinterpret_cast<const unsigned char*>(packed.data()), g, b, s, reversed,
                    settings::divided.value != 0 ? ptx::Meeting::late : ptx::Meeting::early, uint64_t(settings::seed.value),
                    &memory.pieces, f.module->guarded};
        } else if (f.module->guarded) {
            memory.program = program_ranges(reinterpret_cast<const void*>(f.entry.run));
        }
    }

    uint3 index(long i) const {
        long b = reversed ? blocks - 1 - i : i;
        return {unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / (long(grid.x) * grid.y))};
    }

    void fail(const Fault& other) {
        std::lock_guard<std::mutex> lock(mutex);
        if (!failed) {
            fault = other;
            failed = true;
        }
    }

    std::atomic<long> next{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    Fault fault{0, "", nullptr};
};

// What a host thread needs to run blocks; made once and lent to one launch after the other.
struct Bench {
    BlockRunner runner;
    Guard guard;
    ptx::BlockOfWarps warps;
};

void run_compiled(Job& job, Bench& bench) {
    BlockRunner& runner = bench.runner;
    Range fixed = thread_local_range(job.function.module->shared_anchor());
    if (job.function.module->guarded) {
        bench.guard.begin(runner, job.memory, fixed);
    }
    for (long i; !job.failed && (i = job.next.fetch_add(1)) < job.blocks;) {
        if (job.function.static_shared > 0) {
            memset(const_cast<unsigned char*>(fixed.start), 0xff, fixed.bytes);
        }
        memset(runner.shared(), 0xff, job.shared_bytes);
        if (!runner.run(job.function.entry, job.parameters, job.grid, job.block, job.index(i), job.shared_bytes, {job.reversed})) {
            job.fail(runner.fault());
        }
    }
    if (job.function.module->guarded) {
        bench.guard.end();
    }
}

void run_ptx(Job& job, Bench& bench) {
    ptx::Counter counter;
    bool counted = settings::counted.value != 0;
    bench.warps.begin(job.launch, counted ? &counter : nullptr);
    for (long i; !job.failed && (i = job.next.fetch_add(1)) < job.blocks;) {
        counter.counts.blocks++;
        if (!bench.warps.run(job.index(i))) {
            job.fail(bench.warps.fault());
        }
    }
    if (counted) {
        ptx::add_counts(job.function.code->name, counter.counts);
    }
}

void work(Job& job, Bench& bench) {
    if (job.function.code != nullptr) {
        run_ptx(job, bench);
    } else {
        run_compiled(job, bench);
    }
}

// Host threads that wait for launches; the caller of a launch works along.
class Workers {
public:
    static Workers& all() {
        static auto* only = new Workers;  // never destroyed: its threads run until the process ends
        return *only;
    }

    void run(Job& job, unsigned helpers) {
        std::lock_guard<std::mutex> one_launch(launch_);
        {
            std::unique_lock<std::mutex> lock(mutex_);
            while (benches_.size() <= helpers) {
                benches_.push_back(std::make_unique<Bench>());
            }
            for (; started_ < helpers; started_++) {
                std::thread([this, number = started_] { serve(number); }).detach();
            }
            job_ = &job;
            wanted_ = helpers;
            busy_ = helpers;
            generation_++;
        }
        if (helpers > 0) {
            wake_.notify_all();
        }
        work(job, *benches_[0]);
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [this] { return busy_ == 0; });
    }

private:
    void serve(unsigned number) {
        unsigned long seen = 0;
        for (;;) {
            Job* job;
            Bench* bench;
            {
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait(lock, [&] { return generation_ != seen && number < wanted_ && busy_ > 0; });
                seen = generation_;
                job = job_;
                bench = benches_[number + 1].get();
            }
            work(*job, *bench);
            std::lock_guard<std::mutex> lock(mutex_);
            if (--busy_ == 0) {
                done_.notify_one();
            }
        }
    }

    std::mutex launch_, mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::unique_ptr<Bench>> benches_;  // the caller's, and one for each thread
    Job* job_ = nullptr;
    unsigned started_ = 0, wanted_ = 0, busy_ = 0;
    unsigned long generation_ = 0;
};

}  // namespace

Fault run(const Function& function, void** parameters, dim3 grid, dim3 block, size_t shared_bytes) {
    long threads = settings::threads.value;
    if (threads <= 0) {
        threads = std::max(1u, std::thread::hardware_concurrency());
    }
    Job job(function, parameters, grid, block, shared_bytes);
    ptx::add_launch(function.entry.name, function.module->target);
    // a small launch is over before another host thread wakes up
    long useful = job.blocks * long(block.x) * block.y * block.z < 512 ? 1 : job.blocks;
    Workers::all().run(job, unsigned(std::min(threads, useful)) - 1);
    job.fault.text += source_line(job.fault.place);
    return job.fault;
}

}  // namespace emulator
