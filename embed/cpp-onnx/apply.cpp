// An image through a generator of images: apply g.uint8.onnx in.ppm > out.ppm, of an export with --uint8.  A binary PPM
// is a header and RGB bytes; `magick photo.jpg in.ppm` or Pillow writes one.
#include <algorithm>
#include <fstream>

#include "ort.hpp"

struct Image {
    std::int64_t height, width;
    std::vector<std::uint8_t> pixels;  // height x width x 3
};

constexpr std::int64_t most_side = 1 << 14;

// The next number of a PPM's header; # begins a comment.
static std::int64_t header_number(std::istream &file, const std::string &path) {
    while (file >> std::ws && file.peek() == '#') file.ignore(1 << 16, '\n');
    std::int64_t value = 0;
    if (!(file >> value) || value < 1 || value > most_side)
        throw std::runtime_error(path + ": a size of 1 to 16384 is needed");
    return value;
}

static Image read_ppm(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    char magic[2] = {};
    if (!file.read(magic, 2)) throw std::runtime_error(path + ": can't be read");
    if (magic[0] != 'P' || magic[1] != '6') throw std::runtime_error(path + ": a binary PPM (P6) is needed");
    Image image;
    image.width = header_number(file, path);
    image.height = header_number(file, path);
    if (header_number(file, path) != 255) throw std::runtime_error(path + ": values of 0 to 255 are needed");
    file.get();
    image.pixels.resize(static_cast<std::size_t>(image.height * image.width * 3));
    if (!file.read(reinterpret_cast<char *>(image.pixels.data()), static_cast<std::streamsize>(image.pixels.size())))
        throw std::runtime_error(path + ": cut short");
    return image;
}

// The size that the model takes for `side` pixels of a free dimension, which the manifest states as
// "H":[least,multiple,most].
static std::int64_t size_for(const std::string &manifest, const char *symbol, std::int64_t side) {
    const std::string key = std::string("\"") + symbol + "\":[";
    const auto at = manifest.find(key);
    if (at == std::string::npos) return side;  // fixed: the model itself refuses another size
    std::size_t used = 0;
    const std::int64_t least = std::stoll(manifest.substr(at + key.size()), &used);
    const std::int64_t multiple = std::stoll(manifest.substr(at + key.size() + used + 1));
    if (multiple < 1) throw std::runtime_error("the model's manifest is damaged");
    return (std::max(side, least) + multiple - 1) / multiple * multiple;
}

// The image mirrored at its right and bottom edges.
static Image padded(const Image &image, std::int64_t height, std::int64_t width) {
    const auto mirrored = [](std::int64_t i, std::int64_t n) {
        const std::int64_t period = std::max<std::int64_t>(2 * (n - 1), 1);
        return n - 1 - std::abs(n - 1 - i % period);
    };
    Image result{height, width, std::vector<std::uint8_t>(static_cast<std::size_t>(height * width * 3))};
    auto to = result.pixels.begin();
    for (std::int64_t y = 0; y < height; y++)
        for (std::int64_t x = 0; x < width; x++) {
            const std::int64_t from = (mirrored(y, image.height) * image.width + mirrored(x, image.width)) * 3;
            to = std::copy_n(image.pixels.begin() + from, 3, to);
        }
    return result;
}

static void apply(int argc, char **argv) {
    if (argc != 3) throw std::invalid_argument("usage: apply g.uint8.onnx in.ppm > out.ppm");
    find_onnxruntime();
    const Ort::Env env(ORT_LOGGING_LEVEL_FATAL);
    Ort::Session session(env, argv[1], Ort::SessionOptions());
    Ort::AllocatorWithDefaultOptions allocator;
    const auto found = session.GetModelMetadata().LookupCustomMetadataMapAllocated("gan-export.manifest", allocator);
    const std::string manifest = found ? found.get() : "";
    const auto type = session.GetInputTypeInfo(0);
    const auto takes = type.GetTensorTypeAndShapeInfo();
    if (takes.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 || takes.GetShape().size() != 4 ||
        takes.GetShape()[3] != 3 || session.GetInputCount() != 1)
        throw std::runtime_error("the model takes no RGB bytes; export a generator of images with --uint8");
    const Image image = read_ppm(argv[2]);
    Image whole = padded(image, size_for(manifest, "H", image.height), size_for(manifest, "W", image.width));

    const char *inputs[] = {"input"}, *outputs[] = {"image"};
    const Ort::Value value = tensor(whole.pixels.data(), whole.pixels.size(), {1, whole.height, whole.width, 3});
    const auto images = session.Run(Ort::RunOptions(), inputs, &value, 1, outputs, 1);
    const auto shape = images[0].GetTensorTypeAndShapeInfo().GetShape();
    if (shape.size() != 4 || shape[3] != 3) throw std::runtime_error("the model gives no RGB image");
    const std::int64_t height = image.height * shape[1] / whole.height, width = image.width * shape[2] / whole.width;
    const std::string head = "P6\n" + std::to_string(width) + " " + std::to_string(height) + "\n255\n";
    write(reinterpret_cast<const std::uint8_t *>(head.data()), head.size());
    for (std::int64_t y = 0; y < height; y++)
        write(images[0].GetTensorData<std::uint8_t>() + y * shape[2] * 3, static_cast<std::size_t>(width * 3));
}

int main(int argc, char **argv) {
    return in_a_line("apply", [&] { apply(argc, argv); });
}
