/* gan.hpp: gan.h for C++17, header only.  What is opened closes itself, a bad status is an exception, and pictures
 * are vectors.
 *
 *   gan::model model("g.gan");
 *   gan::context context(model);
 *   gan::request wanted;
 *   wanted.seed = 7;
 *   wanted.count = 64;
 *   std::vector<std::uint8_t> pictures = context.bytes(wanted);
 *
 * A model may be shared by any number of threads and must outlive its contexts; a context serves one call at a time.
 */
#ifndef GAN_HPP
#define GAN_HPP

#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gan.h"

#if defined(__has_include) && __cplusplus >= 202002L
#if __has_include(<span>)
#include <span>
#endif
#endif

namespace gan {

#if defined(__cpp_lib_span)
template <class T> using span = std::span<T>;
#else
/* What C++20 calls std::span, as far as it is needed here. */
template <class T> class span {
public:
    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <class Container, class = decltype(static_cast<T *>(std::declval<Container &>().data()))>
    constexpr span(Container &&from) : data_(from.data()), size_(from.size()) {}
    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};
#endif

/* What every call throws when the library refuses; what() is the library's line for `status`. */
class error : public std::runtime_error {
public:
    explicit error(gan_status status) : std::runtime_error(gan_status_string(status)), status_(status) {}
    gan_status status() const noexcept { return status_; }

private:
    gan_status status_;
};

inline void check(gan_status status)
{
    if (status != GAN_OK) throw error(status);
}

/* Pictures start .. start+count-1 of a seed, or those of latents given: then their number counts, not `count`. */
struct request {
    std::uint64_t seed = 0, start = 0, count = 1;
    std::int64_t label = GAN_LABEL_RANDOM; /* a label for all, or GAN_LABEL_...; heeded only by models with classes */
    span<const std::int64_t> labels = {};  /* one for each picture instead of `label` */
    span<const float> latents = {};        /* count x latent_size floats instead of seed and start */
};

/* A .gan file, open. */
class model {
public:
    explicit model(const std::string &path) { check(gan_open(path.c_str(), &handle_)); }
    /* A file in memory, which must outlive the model. */
    explicit model(span<const std::uint8_t> file) { check(gan_open_memory(file.data(), file.size(), &handle_)); }
    ~model() { gan_close(handle_); }
    model(model &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    model &operator=(model &&other) noexcept
    {
        std::swap(handle_, other.handle_);
        return *this;
    }
    model(const model &) = delete;
    model &operator=(const model &) = delete;

    gan_info info() const noexcept
    {
        gan_info info;
        gan_describe(handle_, &info);
        return info;
    }
    /* JSON; lives as long as the model. */
    std::string_view manifest() const noexcept
    {
        const gan_info known = info();
        return {known.manifest, known.manifest_size};
    }
    /* float (count, latent_size): what pictures start .. start+count-1 of `seed` are drawn from. */
    std::vector<float> latents(std::uint64_t seed, std::uint64_t start, std::size_t count) const
    {
        std::vector<float> out(count * info().latent_size);
        check(gan_latents(handle_, seed, start, count, out.data()));
        return out;
    }
    /* Their random labels. */
    std::vector<std::int64_t> labels(std::uint64_t seed, std::uint64_t start, std::size_t count) const
    {
        std::vector<std::int64_t> out(count);
        check(gan_labels(handle_, seed, start, count, out.data()));
        return out;
    }
    gan_model *get() const noexcept { return handle_; }

private:
    gan_model *handle_ = nullptr;
};

/* Scratch memory and a team of threads to draw with. */
class context {
public:
    explicit context(const model &of, const gan_options &options = gan_options()) : info_(of.info())
    {
        check(gan_context_new(of.get(), &options, &handle_));
    }
    ~context() { gan_context_free(handle_); }
    context(context &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)), info_(other.info_) {}
    context &operator=(context &&other) noexcept
    {
        std::swap(handle_, other.handle_);
        std::swap(info_, other.info_);
        return *this;
    }
    context(const context &) = delete;
    context &operator=(const context &) = delete;

    std::uint32_t threads() const noexcept { return gan_context_threads(handle_); }

    /* uint8 (count, height, width, channels). */
    std::vector<std::uint8_t> bytes(const request &wanted)
    {
        std::vector<std::uint8_t> out(size(wanted));
        bytes(wanted, out);
        return out;
    }
    void bytes(const request &wanted, span<std::uint8_t> out)
    {
        const gan_request plain = checked(wanted);
        check(gan_generate_bytes(handle_, &plain, out.data(), out.size()));
    }
    /* float (count, channels, height, width). */
    std::vector<float> floats(const request &wanted)
    {
        std::vector<float> out(size(wanted));
        floats(wanted, out);
        return out;
    }
    void floats(const request &wanted, span<float> out)
    {
        const gan_request plain = checked(wanted);
        check(gan_generate_floats(handle_, &plain, out.data(), out.size()));
    }
    gan_context *get() const noexcept { return handle_; }

private:
    std::uint64_t count(const request &wanted) const
    {
        return wanted.latents.empty() ? wanted.count : wanted.latents.size() / info_.latent_size;
    }
    /* Numbers in the pictures wanted. */
    std::size_t size(const request &wanted) const
    {
        const std::uint64_t one = std::uint64_t(info_.channels) * info_.height * info_.width;
        if (count(wanted) > std::numeric_limits<std::size_t>::max() / sizeof(float) / one) throw error(GAN_ERROR_MEMORY);
        return std::size_t(count(wanted) * one);
    }
    gan_request checked(const request &wanted) const
    {
        const bool whole = wanted.latents.size() % info_.latent_size == 0;
        if (!whole || (!wanted.labels.empty() && wanted.labels.size() != count(wanted))) throw error(GAN_ERROR_ARGUMENT);
        gan_request plain = {};
        plain.seed = wanted.seed;
        plain.start = wanted.start;
        plain.count = count(wanted);
        plain.label = wanted.label;
        plain.labels = wanted.labels.empty() ? nullptr : wanted.labels.data();
        plain.latents = wanted.latents.empty() ? nullptr : wanted.latents.data();
        return plain;
    }

    gan_context *handle_ = nullptr;
    gan_info info_;
};

} // namespace gan

#endif
