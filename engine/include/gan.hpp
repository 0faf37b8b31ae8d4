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
 * Each of these has a form that returns a status and throws nothing, which is all that there is without exceptions
 * (-fno-exceptions):
 *
 *   gan::model model;
 *   gan::context context;
 *   gan_status status = model.open("g.gan");
 *   if (status == GAN_OK) status = context.make(model);
 *   if (status == GAN_OK) status = context.generate(wanted, pixels); // a span of bytes or floats that holds them all
 *
 * A model may be shared by any number of threads and must outlive its contexts; a context serves one call at a time.
 */
#ifndef GAN_HPP
#define GAN_HPP

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "gan.h"

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define GAN_HPP_EXCEPTIONS 1
#include <stdexcept>
#endif

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

#if defined(GAN_HPP_EXCEPTIONS)
/* What every call throws when the library refuses; what() is a line of English. */
class error : public std::runtime_error {
  public:
    explicit error(gan_status status) : std::runtime_error(gan_status_string(status)), status_(status) {}
    error(gan_status status, const char *message)
        : std::runtime_error(message && *message ? message : gan_status_string(status)), status_(status) {}
    gan_status status() const noexcept { return status_; }

  private:
    gan_status status_;
};

inline void check(gan_status status, const char *message = nullptr) {
    if (status != GAN_OK) throw error(status, message);
}

/* count x each numbers, of at most 8 bytes, if a vector can hold so many. */
inline std::size_t numbers(std::uint64_t count, std::uint64_t each) {
    const std::uint64_t most = (std::numeric_limits<std::size_t>::max)() / 2 / sizeof(std::int64_t);
    if (each && count > most / each) throw error(GAN_ERROR_MEMORY);
    return std::size_t(count * each);
}
#endif

/* gan_request with spans, of which those that aren't empty count, and the number of images theirs.  Image i has seeds[i]
 * or `seed`, indices[i] or start + i (with seeds alone: start), and of these its latent and its label. */
struct request {
    std::uint64_t seed = 0, start = 0, count = 1;
    std::int64_t label = -1; /* for all; -1: as `labeling` says */
    std::uint32_t labeling = GAN_LABELS_RANDOM;
    float latent_scale = 1;
    span<const std::uint64_t> seeds = {}, indices = {};
    span<const std::int64_t> labels = {};
    span<const float> latents = {}; /* count x latent_size */
};

/* How many images a request of latents of `each` numbers is for: as many as its spans say. */
inline std::uint64_t count(const request &wanted, std::size_t each) noexcept {
    return !wanted.latents.empty() && each ? wanted.latents.size() / each
           : !wanted.seeds.empty()         ? wanted.seeds.size()
           : !wanted.indices.empty()       ? wanted.indices.size()
           : !wanted.labels.empty()        ? wanted.labels.size()
                                           : wanted.count;
}

/* gan.h's request of one; GAN_ERROR_ARGUMENT if its spans don't agree on the number of images. */
inline gan_status plain(const request &wanted, std::size_t each, gan_request &out) noexcept {
    const std::uint64_t n = count(wanted, each);
    out = gan_request();
    out.size = sizeof out;
    out.seed = wanted.seed;
    out.start = wanted.start;
    out.count = n;
    out.label = wanted.label;
    out.labeling = wanted.label >= 0 ? std::uint32_t(GAN_LABELS_ONE) : wanted.labeling;
    out.latent_scale = wanted.latent_scale;
    out.seeds = wanted.seeds.empty() ? nullptr : wanted.seeds.data();
    out.seeds_size = wanted.seeds.size();
    out.indices = wanted.indices.empty() ? nullptr : wanted.indices.data();
    out.indices_size = wanted.indices.size();
    out.labels = wanted.labels.empty() ? nullptr : wanted.labels.data();
    out.labels_size = wanted.labels.size();
    out.latents = wanted.latents.empty() ? nullptr : wanted.latents.data();
    out.latents_size = wanted.latents.size();
    const auto fits = [n](std::size_t size) { return size == 0 || size == n; };
    const bool whole = wanted.latents.empty() || (each && wanted.latents.size() % each == 0);
    return whole && fits(wanted.seeds.size()) && fits(wanted.indices.size()) && fits(wanted.labels.size())
               ? GAN_OK
               : GAN_ERROR_ARGUMENT;
}

/* A .gan file, open. */
class model {
  public:
    model() noexcept = default;
    ~model() { gan_close(handle_); }
    model(model &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    model &operator=(model &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    model(const model &) = delete;
    model &operator=(const model &) = delete;

    /* Open a file in the place of what was open, whose contexts must be gone. */
    gan_status open(const char *path, const gan_open_options &options = gan_open_options()) noexcept {
        gan_close(std::exchange(handle_, nullptr));
        return gan_open(path, &options, &handle_);
    }
    /* A file in memory, which must outlive the model and stay as it is. */
    gan_status open(span<const std::uint8_t> file, const gan_open_options &options = gan_open_options()) noexcept {
        gan_close(std::exchange(handle_, nullptr));
        return gan_open_memory(file.data(), file.size(), &options, &handle_);
    }
    gan_info info() const noexcept {
        gan_info info = {};
        info.size = sizeof info;
        gan_describe(handle_, &info);
        return info;
    }
    /* JSON; lives as long as the model. */
    std::string_view manifest() const noexcept {
        const gan_info known = info();
        return {known.manifest, known.manifest_size};
    }
    /* The images that it takes; all zeros for a model of latents. */
    gan_input input() const noexcept {
        gan_input input = {};
        input.size = sizeof input;
        gan_describe_input(handle_, &input);
        return input;
    }
    gan_status output_size(std::uint32_t height, std::uint32_t width,
                           std::pair<std::uint32_t, std::uint32_t> &size) const noexcept {
        return gan_output_size(handle_, height, width, &size.first, &size.second);
    }
    gan_model *get() const noexcept { return handle_; }

    gan_status latents(const request &wanted, span<float> out) const noexcept {
        gan_request known;
        const gan_status status = plain(wanted, info().latent_size, known);
        return status == GAN_OK ? gan_latents(handle_, &known, out.data(), out.size()) : status;
    }
    gan_status labels(const request &wanted, span<std::int64_t> out) const noexcept {
        gan_request known;
        const gan_status status = plain(wanted, info().latent_size, known);
        return status == GAN_OK ? gan_labels(handle_, &known, out.data(), out.size()) : status;
    }
    /* The latents that lie the share `at` of the way from some to as many others. */
    gan_status interpolate(span<const float> from, span<const float> to, double at, span<float> out) const noexcept {
        if (from.size() != to.size() || from.size() != out.size()) return GAN_ERROR_ARGUMENT;
        return gan_interpolate(handle_, from.data(), to.data(), at, out.data(), out.size());
    }

#if defined(GAN_HPP_EXCEPTIONS)
    explicit model(const std::string &path, const gan_open_options &options = gan_open_options()) {
        char message[GAN_MESSAGE_SIZE] = "";
        gan_open_options own = options;
        if (!own.message) own.message = message, own.message_size = sizeof message;
        check(open(path.c_str(), own), own.message);
    }
    explicit model(span<const std::uint8_t> file, const gan_open_options &options = gan_open_options()) {
        check(open(file, options));
    }
    template <class Allocator> explicit model(const std::vector<std::uint8_t, Allocator> &&gone_at_once) = delete;
    /* float (count, latent_size): what the images are generated from. */
    std::vector<float> latents(const request &wanted) const {
        std::vector<float> out(numbers(count(wanted, info().latent_size), info().latent_size));
        check(latents(wanted, out));
        return out;
    }
    std::vector<std::int64_t> labels(const request &wanted) const {
        std::vector<std::int64_t> out(numbers(count(wanted, info().latent_size), 1));
        check(labels(wanted, out));
        return out;
    }
    /* Height and width of what comes out for an image of this size. */
    std::pair<std::uint32_t, std::uint32_t> output_size(std::uint32_t height, std::uint32_t width) const {
        std::pair<std::uint32_t, std::uint32_t> size(0, 0);
        check(output_size(height, width, size));
        return size;
    }
#endif

  private:
    gan_model *handle_ = nullptr;
};

/* Scratch memory and threads to generate with. */
class context {
  public:
    context() noexcept = default;
    ~context() { gan_context_free(handle_); }
    context(context &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)), info_(other.info_) {}
    context &operator=(context &&other) noexcept {
        std::swap(handle_, other.handle_);
        std::swap(info_, other.info_);
        return *this;
    }
    context(const context &) = delete;
    context &operator=(const context &) = delete;

    gan_status make(const model &of, const gan_context_options &options = gan_context_options()) noexcept {
        gan_context_free(std::exchange(handle_, nullptr));
        info_ = of.info();
        return gan_context_new(of.get(), &options, &handle_);
    }
    gan_status make(const model &&gone_at_once, const gan_context_options &options = gan_context_options()) = delete;
    gan_context_info info() const noexcept {
        gan_context_info info = {};
        info.size = sizeof info;
        gan_describe_context(handle_, &info);
        return info;
    }
    /* Why the last call failed. */
    const char *message() const noexcept { return gan_context_message(handle_); }
    gan_context *get() const noexcept { return handle_; }

    /* To a buffer of any format and strides, with a callback if it has one. */
    gan_status generate(const request &wanted, const gan_output &output) noexcept {
        gan_request known;
        const gan_status status = plain(wanted, info_.latent_size, known);
        return status == GAN_OK ? gan_generate(handle_, &known, &output) : status;
    }
    /* uint8 (count, height, width, channels); of volumes (count, depth, height, width, channels). */
    gan_status generate(const request &wanted, span<std::uint8_t> out) noexcept {
        return generate(wanted, packed(out.data(), out.size(), GAN_BYTES));
    }
    /* float (count, channels, height, width), in the model's own range; of volumes (count, channels, depth, ...). */
    gan_status generate(const request &wanted, span<float> out) noexcept {
        return generate(wanted, packed(out.data(), out.size() * sizeof(float), GAN_FLOAT_PLANAR));
    }
    gan_status apply(const gan_images &images, const gan_output &output) noexcept {
        return gan_apply(handle_, &images, &output);
    }
    gan_status apply(const gan_images &images, span<std::uint8_t> out) noexcept {
        return apply(images, packed(out.data(), out.size(), GAN_BYTES));
    }
    gan_status apply(const gan_images &images, span<float> out) noexcept {
        return apply(images, packed(out.data(), out.size() * sizeof(float), GAN_FLOAT_PLANAR));
    }

#if defined(GAN_HPP_EXCEPTIONS)
    explicit context(const model &of, const gan_context_options &options = gan_context_options()) {
        char message[GAN_MESSAGE_SIZE] = "";
        gan_context_options own = options;
        if (!own.message) own.message = message, own.message_size = sizeof message;
        check(make(of, own), own.message);
    }
    explicit context(const model &&gone_at_once, const gan_context_options &options = gan_context_options()) = delete;
    std::vector<std::uint8_t> bytes(const request &wanted) {
        std::vector<std::uint8_t> out(size(wanted));
        check(generate(wanted, span<std::uint8_t>(out)), message());
        return out;
    }
    std::vector<float> floats(const request &wanted) {
        std::vector<float> out(size(wanted));
        check(generate(wanted, span<float>(out)), message());
        return out;
    }
#endif

  private:
    static gan_output packed(void *data, std::size_t size, std::uint32_t format) noexcept {
        gan_output output = {};
        output.size = sizeof output;
        output.data = data;
        output.data_size = size;
        output.format = format;
        return output;
    }
#if defined(GAN_HPP_EXCEPTIONS)
    /* Numbers in the images wanted. */
    std::size_t size(const request &wanted) const {
        return numbers(count(wanted, info_.latent_size),
                       std::uint64_t(info_.channels) * (info_.depth ? info_.depth : 1) * info_.height * info_.width);
    }
#endif

    gan_context *handle_ = nullptr;
    gan_info info_ = {};
};

} // namespace gan

#endif
