// quiet FILE SEED COUNT: the pictures' bytes to standard output, by gan.hpp without exceptions: every form that
// returns a status.
#include <cstdio>
#include <cstdlib>
#include <gan.hpp>

#if defined(GAN_HPP_EXCEPTIONS)
#error "this program is compiled with -fno-exceptions"
#endif

static gan_status draw(const char *file, std::uint64_t seed, std::uint64_t count, std::vector<std::uint8_t> &out)
{
    gan::model model, moved;
    gan::context context;
    gan_status status = model.open(file);
    if (status != GAN_OK) return status;
    moved = std::move(model);
    const gan_info info = moved.info();
    status = context.make(moved);
    if (status != GAN_OK) return status;
    gan::request wanted;
    wanted.seed = seed;
    wanted.count = count;
    // by latents: those of the seed, and the way between each of them and itself
    std::vector<float> latents(count * info.latent_size), same(latents.size());
    status = moved.latents(wanted, latents);
    if (status == GAN_OK) status = moved.interpolate(latents, latents, 0.5, same);
    if (status != GAN_OK) return status;
    wanted.latents = same;
    out.resize(count * info.channels * info.height * info.width);
    status = context.generate(wanted, gan::span<std::uint8_t>(out.data(), out.size() - 1));
    if (status != GAN_ERROR_ARGUMENT || !*context.message()) return GAN_ERROR_CORRUPT; // too small, which is refused
    std::pair<std::uint32_t, std::uint32_t> size;
    if (moved.output_size(8, 8, size) != GAN_ERROR_ARGUMENT || moved.input().channels) return GAN_ERROR_CORRUPT;
    return context.generate(wanted, gan::span<std::uint8_t>(out));
}

int main(int argc, char **argv)
{
    std::vector<std::uint8_t> images;
    if (argc != 4) return 2;
    const gan_status status = draw(argv[1], std::strtoull(argv[2], nullptr, 10), std::strtoull(argv[3], nullptr, 10), images);
    if (status != GAN_OK) return std::fprintf(stderr, "%s\n", gan_status_string(status)), 1;
    return std::fwrite(images.data(), 1, images.size(), stdout) != images.size();
}
