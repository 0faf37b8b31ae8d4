// draw_cpp FILE SEED COUNT: the pictures' bytes to standard output.
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>
#if __cplusplus >= 202002L
#include <span>
#endif
#define max(a, b) ((a) > (b) ? (a) : (b)) // as windows.h does
#include <gan.hpp>
#undef max

using bytes_of_file = std::vector<std::uint8_t>;
static_assert(std::is_constructible_v<gan::context, gan::model &>);
static_assert(std::is_constructible_v<gan::context, const gan::model &, gan_context_options>);
static_assert(!std::is_constructible_v<gan::context, gan::model>, "a context would outlive its model");
static_assert(!std::is_constructible_v<gan::context, const gan::model, gan_context_options>, "a context would outlive its model");
static_assert(std::is_constructible_v<gan::model, const char *>);
static_assert(std::is_constructible_v<gan::model, bytes_of_file &> && std::is_constructible_v<gan::model, const bytes_of_file &>);
static_assert(!std::is_constructible_v<gan::model, bytes_of_file>, "a model would outlive its file");

using numbers = gan::span<const float>;
static_assert(std::is_convertible_v<float (&)[4], numbers> && std::is_convertible_v<std::array<float, 4> &, numbers>);
static_assert(std::is_convertible_v<gan::span<float>, numbers> && !std::is_convertible_v<numbers, gan::span<float>>);
static_assert(!std::is_convertible_v<std::vector<double> &, numbers> && !std::is_convertible_v<double (&)[4], numbers>);
#if __cplusplus >= 202002L
static_assert(std::is_convertible_v<std::span<float>, numbers> && std::is_convertible_v<numbers, std::span<const float>>);
#endif

// What gan.h says of bytes: the last layer's values x, from the model's range to -1 .. 1, clamp(floor(x * 127.5 + 128)).
static bool bytes_of(const std::vector<float> &values, const gan::model &model, const std::vector<std::uint8_t> &bytes)
{
    const gan_info info = model.info();
    const float low = info.low, high = info.high;
    const std::size_t plane = std::size_t(info.height) * info.width, picture = plane * info.channels;
    for (std::size_t i = 0; i < values.size(); i++) {
        const std::size_t channel = i % picture / plane;
        const double x = (double(values[i]) - low) * 2 / (double(high) - low) - 1, byte = std::floor(x * 127.5 + 128);
        const double wanted = byte < 0 ? 0 : byte > 255 ? 255 : byte;
        if (std::abs(wanted - bytes[i / picture * picture + i % plane * info.channels + channel]) > 1) return false;
    }
    return values.size() == bytes.size();
}

template <class Call> static gan_status status_of(Call call)
{
    try {
        call();
        return GAN_OK;
    } catch (const gan::error &e) {
        return e.status();
    }
}

static std::size_t pictures_of(const char *word) { return std::size_t(std::stoull(word)); }

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    try {
        gan::model first(argv[1]);
        gan::model model(std::move(first));
        gan_context_options options = {};
        options.threads = 1;
        gan::context context(model, options);
        gan::request wanted;
        wanted.seed = std::stoull(argv[2]);
        wanted.count = std::stoull(argv[3]);
        const std::vector<std::uint8_t> pictures = context.bytes(wanted);

        const std::vector<float> latents = model.latents(wanted);
        gan::request same;
        same.latents = latents;
        std::vector<std::uint8_t> again(pictures.size());
        if (context.generate(same, gan::span<std::uint8_t>(again)) != GAN_OK) return 3;
        if (again != pictures || model.manifest().empty() || context.info().threads != 1) return 3;
        if (!bytes_of(context.floats(same), model, pictures)) return 4;
        same.latents = gan::span<const float>(latents.data(), 1);
        if (status_of([&] { context.bytes(same); }) != GAN_ERROR_ARGUMENT) return 5;
        const float array[] = {0.5f, 0.25f};
        const gan::span<const float> two(array);
        if (two.size() != 2 || two[1] != 0.25f || two.end() - two.begin() != 2) return 6;

        const std::size_t most = SIZE_MAX;
        const std::size_t wraps = most / model.info().latent_size + 2; // times latent_size: a small number
        wanted.count = wraps;
        if (status_of([&] { model.latents(wanted); }) != GAN_ERROR_MEMORY) return 7;
        wanted.count = most;
        if (status_of([&] { model.labels(wanted); }) != GAN_ERROR_MEMORY) return 8;
        if (status_of([&] { context.floats(wanted); }) != GAN_ERROR_MEMORY) return 9;
        if (first.info().channels || status_of([&] { first.latents(gan::request()); }) != GAN_ERROR_ARGUMENT) return 10;
        const std::uint64_t which[] = {3, 0, 3};
        gan::request chosen;
        chosen.seed = wanted.seed;
        chosen.indices = which;
        const std::vector<float> of_three = model.latents(chosen);
        std::vector<float> middle(latents.size() / pictures_of(argv[3]));
        const auto one = [&](std::size_t i) { return gan::span<const float>(of_three.data() + i * middle.size(), middle.size()); };
        if (of_three.size() != 3 * middle.size()) return 11;
        if (model.interpolate(one(0), one(2), 0.5, middle) != GAN_OK || middle[0] != of_three[0]) return 12;
        std::fwrite(pictures.data(), 1, pictures.size(), stdout);
        return 0;
    } catch (const gan::error &e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
