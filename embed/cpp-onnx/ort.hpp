// What both programs share: ONNX Runtime found as they start, arguments, errors in a line.
#pragma once
#define ORT_API_MANUAL_INIT
#include <dlfcn.h>
#include <onnxruntime_cxx_api.h>

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

constexpr std::int64_t most = 4096;  // pictures at once

// A whole number within 0 .. 2^63-1.
inline std::int64_t number(std::string_view text, const char *what) {
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0)
        throw std::invalid_argument(std::string(text) + ": " + what + " are 0 to 2^63-1");
    return value;
}

// The library that ONNXRUNTIME names, or the one that the system or the program's run path has.  Only one symbol is
// looked up by name, so that one program runs on every version that isn't older than its headers.
inline void find_onnxruntime() {
    std::vector<const char *> names{"libonnxruntime.so.1", "libonnxruntime.dylib"};
    if (const char *named = std::getenv("ONNXRUNTIME")) names = {named};
    void *base = nullptr;
    for (const char *name : names)
        if (void *library = dlopen(name, RTLD_NOW); library && !base) base = dlsym(library, "OrtGetApiBase");
    if (!base)
        throw std::runtime_error(std::string(names[0]) + ": no ONNX Runtime; name libonnxruntime's file in ONNXRUNTIME");
    const OrtApiBase &found = *reinterpret_cast<const OrtApiBase *(*)()>(base)();
    const OrtApi *api = found.GetApi(ORT_API_VERSION);
    if (!api) throw std::runtime_error(std::string(found.GetVersionString()) + " is older than the program's headers");
    Ort::InitApi(api);
}

// A tensor over `data`, which stays the caller's.
template <typename T>
Ort::Value tensor(T *data, std::size_t size, const std::vector<std::int64_t> &shape) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    return Ort::Value::CreateTensor<T>(memory, data, size, shape.data(), shape.size());
}

// Bytes to standard output.
inline void write(const std::uint8_t *bytes, std::size_t size) {
    if (!std::cout.write(reinterpret_cast<const char *>(bytes), static_cast<std::streamsize>(size)).flush())
        throw std::runtime_error("the pictures can't be written");
}

// Run `body`; what it throws becomes one line and exit code 2.
template <typename Body>
int in_a_line(const char *name, Body body) {
    try {
        body();
        return 0;
    } catch (const std::exception &e) {
        const std::string why = e.what();
        std::cerr << name << ": " << why.substr(0, why.find('\n')) << '\n';
        return 2;
    }
}
