// draw_cpp FILE SEED COUNT: the pictures' bytes to standard output.
#include <cstdio>
#include <gan.hpp>
#include <string>
#include <vector>

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    try {
        gan::model first(argv[1]);
        gan::model model(std::move(first));
        gan_options options = {};
        options.threads = 1;
        gan::context context(model, options);
        gan::request wanted;
        wanted.seed = std::stoull(argv[2]);
        wanted.count = std::stoull(argv[3]);
        const std::vector<std::uint8_t> pictures = context.bytes(wanted);

        const std::vector<float> latents = model.latents(wanted.seed, 0, wanted.count);
        gan::request same;
        same.latents = latents;
        std::vector<std::uint8_t> again(pictures.size());
        context.bytes(same, again);
        if (again != pictures || model.manifest().empty() || context.threads() != 1) return 3;
        if (context.floats(same).size() != pictures.size()) return 4;
        same.latents = gan::span<const float>(latents.data(), 1);
        try {
            context.bytes(same);
            return 5;
        } catch (const gan::error &e) {
            if (e.status() != GAN_ERROR_ARGUMENT) return 6;
        }
        std::fwrite(pictures.data(), 1, pictures.size(), stdout);
        return 0;
    } catch (const gan::error &e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
