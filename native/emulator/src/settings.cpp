#include "settings.h"
#include "api.h"

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <string>

namespace emulator {

namespace settings {
Setting devices{"devices", 1, {}};
Setting driver_version{"driver_version", 12040, {}};
Setting compute_capability{"compute_capability", 80, {}};
Setting multiprocessors{"multiprocessors", 8, {}};
Setting l2_bytes{"l2_bytes", 32L << 20, {}};
Setting memory_bytes{"memory_bytes", 4L << 30, {}};
Setting threads{"threads", 0, {}};
Setting reversed{"reversed", 0, {}};
Setting guard{"guard", 0, {}};
Setting ptx{"ptx", 1, {}};
Setting divided{"divided", 0, {}};
Setting counted{"counted", 0, {}};
Setting seed{"seed", 1, {}};
Setting deferred{"deferred", 0, {}};
Setting fail_init{"fail_init", 0, {}};
Setting stub{"stub", 0, {}};
Setting fail_jit{"fail_jit", 0, {}};
Setting fail_allocation{"fail_allocation", 0, {}};
Setting fail_launch{"fail_launch", 0, {}};
Setting fail_cublas{"fail_cublas", 0, {}};
Setting fail_cudnn{"fail_cudnn", 0, {}};
}

namespace {

Setting* const ALL[] = {&settings::devices, &settings::driver_version, &settings::compute_capability,
        &settings::multiprocessors, &settings::l2_bytes, &settings::memory_bytes, &settings::threads, &settings::reversed,
        &settings::guard, &settings::ptx, &settings::divided, &settings::counted, &settings::seed, &settings::deferred, &settings::fail_init, &settings::stub, &settings::fail_jit, &settings::fail_allocation, &settings::fail_launch,
        &settings::fail_cublas, &settings::fail_cudnn};

void restore() {
    for (Setting* setting : ALL) {
        std::string name = "EMULATOR_";
        for (const char* c = setting->name; *c; c++) {
            name += char(toupper(*c));
        }
        const char* given = getenv(name.c_str());
        setting->value = given != nullptr ? atol(given) : setting->initial;
    }
}

__attribute__((constructor)) void at_load() {
    restore();
}

Setting* find(const char* name) {
    for (Setting* setting : ALL) {
        if (strcmp(setting->name, name) == 0) {
            return setting;
        }
    }
    return nullptr;
}

}  // namespace

bool strikes(Setting& countdown) {
    long now = countdown.value.load();
    while (now > 0 && !countdown.value.compare_exchange_weak(now, now - 1)) {
    }
    return now == 1;
}

}  // namespace emulator

// 0 when there is such a setting, else -1.
API int emulator_set(const char* name, long value) {
    emulator::Setting* setting = emulator::find(name);
    if (setting == nullptr) {
        return -1;
    }
    setting->value = value;
    return 0;
}

API long emulator_get(const char* name) {
    emulator::Setting* setting = emulator::find(name);
    return setting == nullptr ? -1 : setting->value.load();
}

// Takes all settings back to what they were at the start.
API void emulator_restore_settings() {
    emulator::restore();
}
