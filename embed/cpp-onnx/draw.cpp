// Pictures of latents: draw g.onnx latents.raw [LABEL] > pictures.raw, float32 (N, nz) in, uint8 (N, height, width,
// channels) out.  Where there are labels, picture i gets label i mod classes without one.
#include <algorithm>
#include <cmath>
#include <fstream>

#include "ort.hpp"

// The number of labels, 0 if there are none: a key of the manifest, JSON that every export carries.
static std::int64_t classes_of(const Ort::Session &session) {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto found = session.GetModelMetadata().LookupCustomMetadataMapAllocated("gan-export.manifest", allocator);
    const std::string manifest = found ? found.get() : "", key = "\"classes\":";
    if (manifest.empty()) throw std::runtime_error("the model is no file of gan-export onnx");
    const auto at = manifest.find(key), none = std::string::npos;
    if (manifest.find("\"range\":[-1.0,1.0]") == none && manifest.find("\"range\":[") != none)
        throw std::runtime_error("values in [-1, 1] are needed; export the model without --raw");
    return at == none ? 0 : std::stoll(manifest.substr(at + key.size()));
}

// Numbers in each latent: the last dimension of the input z.
static std::int64_t latent_size(const Ort::Session &session) {
    const auto type = session.GetInputTypeInfo(0);
    const auto shape = type.GetTensorTypeAndShapeInfo().GetShape();
    if (shape.size() != 2 || shape[1] < 1)
        throw std::runtime_error("the model's first input is no latents (N, nz); sample.cpp runs sampler graphs");
    return shape[1];
}

// Whole rows of `nz` floats.
static std::vector<float> read_latents(const std::string &path, std::int64_t nz) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) throw std::runtime_error(path + ": can't be read");
    const std::int64_t size = file.tellg(), row = nz * static_cast<std::int64_t>(sizeof(float));
    if (size < row || size % row || size / row > most)
        throw std::runtime_error(path + ": 1 to 4096 whole rows of " + std::to_string(nz) + " floats are needed");
    std::vector<float> latents(static_cast<std::size_t>(size) / sizeof(float));
    if (!file.seekg(0).read(reinterpret_cast<char *>(latents.data()), size)) throw std::runtime_error(path + ": can't be read");
    return latents;
}

// float (N, C, H, W) in [-1, 1] to bytes (N, H, W, C).
static std::vector<std::uint8_t> to_bytes(const Ort::Value &image) {
    const auto info = image.GetTensorTypeAndShapeInfo();
    const auto shape = info.GetShape();
    if (info.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || shape.size() != 4)
        throw std::runtime_error("the model draws no float32 (N, C, H, W)");
    const std::size_t n = shape[0], channels = shape[1], plane = shape[2] * shape[3];
    std::vector<std::uint8_t> pixels(n * channels * plane);
    const float *value = image.GetTensorData<float>();
    for (std::size_t i = 0; i < n; i++)
        for (std::size_t c = 0; c < channels; c++)
            for (std::size_t p = 0; p < plane; p++)
                pixels[(i * plane + p) * channels + c] =
                    static_cast<std::uint8_t>(std::min(std::max(0.0f, std::floor(*value++ * 127.5f + 128)), 255.0f));
    return pixels;
}

static void draw(int argc, char **argv) {
    if (argc < 3 || argc > 4) throw std::invalid_argument("usage: draw g.onnx latents.raw [LABEL] > pictures.raw");
    find_onnxruntime();
    const Ort::Env env(ORT_LOGGING_LEVEL_FATAL);
    Ort::Session session(env, argv[1], Ort::SessionOptions());
    const std::int64_t classes = classes_of(session), nz = latent_size(session);
    const std::int64_t label = argc == 4 ? number(argv[3], "labels") : -1;
    if (label >= classes)
        throw std::invalid_argument(std::string("label ") + argv[3] + ": " +
                                    (classes ? "must be 0 to " + std::to_string(classes - 1) : "this generator has none"));
    std::vector<float> latents = read_latents(argv[2], nz);
    const auto count = static_cast<std::int64_t>(latents.size()) / nz;
    std::vector<std::int64_t> labels(static_cast<std::size_t>(count), label);
    for (std::int64_t i = 0; classes && label < 0 && i < count; i++) labels[static_cast<std::size_t>(i)] = i % classes;

    std::vector<const char *> names{"z", "label"}, outputs{"image"};
    std::vector<Ort::Value> values;
    values.push_back(tensor(latents.data(), latents.size(), {count, nz}));
    if (classes) values.push_back(tensor(labels.data(), labels.size(), {count}));
    const auto images = session.Run(Ort::RunOptions(), names.data(), values.data(), values.size(), outputs.data(), 1);
    const auto pixels = to_bytes(images[0]);
    write(pixels.data(), pixels.size());
}

int main(int argc, char **argv) {
    return in_a_line("draw", [&] { draw(argc, argv); });
}
