// Pictures of a TorchScript file as uint8 (N, height, width, channels):
//   draw g.sampler.pt SEED COUNT [LABEL] > pictures.raw   a seed's first ones; without a label, with random ones
//   draw g.pt latents.raw [LABEL] > pictures.raw          of float32 (N, nz); without a label, with i mod classes
#include <charconv>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <torch/script.h>

using Arguments = std::vector<std::string>;
constexpr std::int64_t most = 4096;  // pictures at once

// The number after `key` in the manifest, JSON that every export carries, from `start` on; `otherwise` if it isn't there.
static std::int64_t number_after(const std::string &manifest, const std::string &key, std::size_t start,
                                 std::int64_t otherwise) {
    const auto at = manifest.find(key, start);
    return at == std::string::npos ? otherwise : std::stoll(manifest.substr(at + key.size()));
}

// The size of a latent: of the manifest's signature, or of version 1's "nz".
static std::int64_t latent_size(const std::string &manifest) {
    const auto latent = manifest.find("\"kind\":\"latent\"");
    const std::int64_t nz = latent == std::string::npos ? number_after(manifest, "\"nz\":", 0, 0)
                                                        : number_after(manifest, "\"shape\":[", latent, 0);
    if (!nz) throw std::runtime_error("the model is no file of gan-export torchscript");
    return nz;
}

// A whole number within 0 .. 2^63-1.
static std::int64_t number(const std::string &text, const char *what) {
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0)
        throw std::invalid_argument(text + ": " + what + " are 0 to 2^63-1");
    return value;
}

static std::int64_t label_of(const std::string &text, std::int64_t classes) {
    const std::int64_t label = number(text, "labels");
    if (!classes) throw std::invalid_argument("label " + text + ": this generator has none");
    if (label >= classes)
        throw std::invalid_argument("label " + text + ": must be 0 to " + std::to_string(classes - 1));
    return label;
}

// Whole rows of `nz` floats.
static at::Tensor read_latents(const std::string &path, std::int64_t nz) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) throw std::runtime_error(path + ": can't be read");
    const std::int64_t size = file.tellg(), row = nz * static_cast<std::int64_t>(sizeof(float));
    if (size < row || size % row || size / row > most)
        throw std::runtime_error(path + ": 1 to 4096 whole rows of " + std::to_string(nz) + " floats are needed");
    at::Tensor z = torch::empty({size / row, nz});
    if (!file.seekg(0).read(static_cast<char *>(z.mutable_data_ptr()), size)) throw std::runtime_error(path + ": can't be read");
    return z;
}

// What a sampler takes, of SEED COUNT [LABEL].
static std::vector<c10::IValue> from_seed(const Arguments &given, std::int64_t classes) {
    if (given.size() < 2 || given.size() > 3) throw std::invalid_argument("usage: draw g.sampler.pt SEED COUNT [LABEL]");
    const std::int64_t seed = number(given[0], "seeds"), count = number(given[1], "counts");
    if (count < 1 || count > most) throw std::invalid_argument("the count must be 1 to 4096");
    const std::int64_t label = given.size() == 3 ? label_of(given[2], classes) : -1;
    std::vector<c10::IValue> inputs{seed, std::int64_t{0}, count};
    if (classes) inputs.emplace_back(torch::tensor({label}, torch::kInt64));
    return inputs;
}

// What any other generator takes, of latents.raw [LABEL].
static std::vector<c10::IValue> from_latents(const Arguments &given, std::int64_t classes, std::int64_t nz) {
    if (given.empty() || given.size() > 2) throw std::invalid_argument("usage: draw g.pt latents.raw [LABEL]");
    const std::int64_t label = given.size() == 2 ? label_of(given[1], classes) : -1;
    const at::Tensor z = read_latents(given[0], nz);
    std::vector<c10::IValue> inputs{z};
    if (classes) inputs.emplace_back(label < 0 ? torch::arange(z.size(0)) % classes : torch::full({z.size(0)}, label));
    return inputs;
}

static void draw(const std::string &path, const Arguments &given) {
    torch::jit::ExtraFilesMap files{{"gan-export.manifest", ""}};
    torch::jit::Module module = torch::jit::load(path, torch::kCPU, files);
    const std::string &manifest = files["gan-export.manifest"];
    const std::int64_t classes = number_after(manifest, "\"classes\":", 0, 0), nz = latent_size(manifest);
    const auto &schema = module.get_method("forward").function().getSchema();
    const bool sampler = schema.arguments().at(1).name() == "seed";  // the first one is the module

    const c10::InferenceMode mode;
    at::Tensor pixels = module.forward(sampler ? from_seed(given, classes) : from_latents(given, classes, nz)).toTensor();
    if (pixels.scalar_type() != torch::kUInt8) {  // float (N, C, H, W) in [-1, 1]
        const auto none = std::string::npos;
        if (manifest.find("\"range\":[-1.0,1.0]") == none && manifest.find("\"range\":[") != none)
            throw std::runtime_error("values in [-1, 1] are needed; export the model without --raw, or with --uint8");
        pixels = (pixels * 127.5 + 128).floor().clamp(0, 255).to(torch::kUInt8).permute({0, 2, 3, 1});
    }
    pixels = pixels.contiguous();
    if (!std::cout.write(static_cast<const char *>(pixels.const_data_ptr()), pixels.nbytes()).flush())
        throw std::runtime_error("the pictures can't be written");
}

int main(int argc, char **argv) {
    std::string why;
    try {
        if (argc < 3) throw std::invalid_argument("usage: draw FILE.pt SEED COUNT | latents.raw [LABEL] > pictures.raw");
        draw(argv[1], Arguments(argv + 2, argv + argc));
        return 0;
    } catch (const c10::Error &e) {
        why = e.what_without_backtrace();
    } catch (const std::exception &e) {
        why = e.what();
    }
    std::cerr << "draw: " << why.substr(0, why.find('\n')) << '\n';
    return 2;
}
