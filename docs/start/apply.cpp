// An image through a generator: apply g.onnx in.ppm LOW > out.ppm, 8-bit RGB, LOW the least value of the range in and
// out: -1 for [-1, 1], 0 for [0, 1].
#include <algorithm>
#include <cmath>
#include <fstream>

#include "ort.hpp"

static void apply(const char *model, const char *file, float low) {
    std::ifstream in(file, std::ios::binary);
    std::string magic;
    std::int64_t width = 0, height = 0, most_value = 0;
    in >> magic >> width >> height >> most_value;
    if (magic != "P6" || width < 1 || height < 1 || width * height > 1 << 26 || most_value != 255 || !in.ignore(1))
        throw std::runtime_error(std::string(file) + ": a PPM file (P6) of 8 bits is needed");
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(width * height * 3));
    if (!in.read(reinterpret_cast<char *>(bytes.data()), static_cast<std::streamsize>(bytes.size())))
        throw std::runtime_error(std::string(file) + ": cut short");

    const std::int64_t plane = width * height;
    const float scale = (1 - low) / 255;
    std::vector<float> values(bytes.size());  // (1, 3, height, width)
    for (std::int64_t c = 0; c < 3; c++)
        for (std::int64_t p = 0; p < plane; p++) values[c * plane + p] = low + scale * bytes[p * 3 + c];

    find_onnxruntime();
    const Ort::Env env(ORT_LOGGING_LEVEL_FATAL);
    Ort::Session session(env, model, Ort::SessionOptions());
    const char *input = "input", *output = "image";
    const auto given = tensor(values.data(), values.size(), {1, 3, height, width});
    const auto made = session.Run(Ort::RunOptions(), &input, &given, 1, &output, 1);

    const auto shape = made[0].GetTensorTypeAndShapeInfo().GetShape();
    const std::int64_t pixels = shape[2] * shape[3];
    const float *value = made[0].GetTensorData<float>();
    std::vector<std::uint8_t> out(static_cast<std::size_t>(pixels * 3));
    for (std::int64_t c = 0; c < 3; c++)
        for (std::int64_t p = 0; p < pixels; p++) {
            const float byte = std::floor((value[c * pixels + p] - low) / scale + 0.5f);
            out[p * 3 + c] = static_cast<std::uint8_t>(std::clamp(byte, 0.0f, 255.0f));
        }
    std::cout << "P6 " << shape[3] << ' ' << shape[2] << " 255\n";
    write(out.data(), out.size());
}

int main(int argc, char **argv) {
    return in_a_line("apply", [&] {
        if (argc != 4) throw std::invalid_argument("usage: apply g.onnx in.ppm -1|0 > out.ppm");
        apply(argv[1], argv[2], std::stof(argv[3]));
    });
}
