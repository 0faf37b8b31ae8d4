/* gan.hpp: gan.h for C++17, header only.  What is opened closes itself, a bad status is an exception, and images
 * are vectors.
 *
 *   gan::model model("g.gan");
 *   gan::context context(model);
 *   gan::request wanted;
 *   wanted.seed = 7;
 *   wanted.count = 64;
 *   std::vector<std::uint8_t> images = context.bytes(wanted);
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
#include <type_traits>
#include <utility>
#include <vector>

#include "gan.h"

namespace gan {

/* What C++20 calls std::span, as far as it is needed here; the two convert into each other.  It is the same type
 * whatever standard a file is compiled by, so that files of several may be linked. */
template <class T> class span {
public:
    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <std::size_t N> constexpr span(T (&array)[N]) noexcept : data_(array), size_(N) {}
    /* Of what has data() and size(): a vector, an array, a std::span. */
    template <class Container, class Data = decltype(std::declval<Container &>().data()),
              class = std::enable_if_t<std::is_convertible_v<std::remove_pointer_t<Data> (*)[], T (*)[]>>>
    constexpr span(Container &&from) : data_(from.data()), size_(from.size()) {}
    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t i) const { return data_[i]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

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

/* count x each numbers, of at most 8 bytes, if a vector can hold so many. */
inline std::size_t numbers(std::uint64_t count, std::uint64_t each)
{
    const std::uint64_t most = (std::numeric_limits<std::size_t>::max)() / 2 / sizeof(std::int64_t);
    if (each && count > most / each) throw error(GAN_ERROR_MEMORY);
    return std::size_t(count * each);
}

/* Images start .. start+count-1 of a seed, or those of latents given: then their number counts, not `count`, and
 * seed and start choose nothing but the labels of GAN_LABEL_RANDOM (both) and GAN_LABEL_ALL (start). */
struct request {
    std::uint64_t seed = 0, start = 0, count = 1;
    std::int64_t label = GAN_LABEL_RANDOM; /* a label for all, or GAN_LABEL_...; heeded only by models with classes */
    span<const std::int64_t> labels = {};  /* one for each image instead of `label` */
    span<const float> latents = {};        /* count x latent_size floats instead of those of seed and start */
};

/* A .gan file, open. */
class model {
public:
    explicit model(const std::string &path) { check(gan_open(path.c_str(), &handle_)); }
    /* A file in memory, which must outlive the model and stay as it is. */
    explicit model(span<const std::uint8_t> file) { check(gan_open_memory(file.data(), file.size(), &handle_)); }
    template <class Allocator> explicit model(const std::vector<std::uint8_t, Allocator> &&gone_at_once) = delete;
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
        gan_info info = {};
        gan_describe(handle_, &info);
        return info;
    }
    /* JSON; lives as long as the model. */
    std::string_view manifest() const noexcept
    {
        const gan_info known = info();
        return {known.manifest, known.manifest_size};
    }
    /* The last layer's values, as floats() gives them, lie between these; bytes are made of them brought to -1 .. 1. */
    std::pair<float, float> range() const noexcept
    {
        std::pair<float, float> known(-1.0f, 1.0f);
        gan_range(handle_, &known.first, &known.second);
        return known;
    }
    /* float (count, latent_size): what images start .. start+count-1 of `seed` are generated from. */
    std::vector<float> latents(std::uint64_t seed, std::uint64_t start, std::size_t count) const
    {
        std::vector<float> out(numbers(count, info().latent_size));
        check(gan_latents(handle_, seed, start, count, out.data()));
        return out;
    }
    /* Their random labels. */
    std::vector<std::int64_t> labels(std::uint64_t seed, std::uint64_t start, std::size_t count) const
    {
        std::vector<std::int64_t> out(numbers(count, 1));
        check(gan_labels(handle_, seed, start, count, out.data()));
        return out;
    }
    /* The images that it takes; all zeros for a model of latents. */
    gan_input input() const noexcept
    {
        gan_input input = {};
        gan_describe_input(handle_, &input);
        return input;
    }
    /* Height and width of what comes out for an image of this size. */
    std::pair<std::uint32_t, std::uint32_t> output_size(std::uint32_t height, std::uint32_t width) const
    {
        std::pair<std::uint32_t, std::uint32_t> size(0, 0);
        check(gan_output_size(handle_, height, width, &size.first, &size.second));
        return size;
    }
    gan_model *get() const noexcept { return handle_; }

private:
    gan_model *handle_ = nullptr;
};

/* Scratch memory and a pool of threads to generate with. */
class context {
public:
    explicit context(const model &of, const gan_options &options = gan_options()) : info_(of.info())
    {
        check(gan_context_new(of.get(), &options, &handle_));
    }
    explicit context(const model &&gone_at_once, const gan_options &options = gan_options()) = delete;
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
    /* float (count, channels, height, width), as the last layer gives them. */
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
    /* Of images that go in: uint8 (count, height, width, channels) of the size that model::output_size gives, in `out`
     * or, as floats, in the model's own range and (count, channels, height, width). */
    void apply(const gan_images &images, span<std::uint8_t> out)
    {
        check(gan_apply_bytes(handle_, &images, out.data(), out.size()));
    }
    void apply(const gan_images &images, span<float> out)
    {
        check(gan_apply_floats(handle_, &images, out.data(), out.size()));
    }
    gan_context *get() const noexcept { return handle_; }

private:
    std::uint64_t count(const request &wanted) const
    {
        const bool given = !wanted.latents.empty() && info_.latent_size != 0;
        return given ? wanted.latents.size() / info_.latent_size : wanted.count;
    }
    /* Numbers in the images wanted. */
    std::size_t size(const request &wanted) const
    {
        return numbers(count(wanted), std::uint64_t(info_.channels) * info_.height * info_.width);
    }
    gan_request checked(const request &wanted) const
    {
        const bool whole = wanted.latents.empty() ||
                           (info_.latent_size != 0 && wanted.latents.size() % info_.latent_size == 0);
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
