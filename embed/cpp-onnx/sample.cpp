// Pictures of a seed by a sampler graph: sample g.sampler.onnx SEED COUNT [LABEL] > pictures.raw, uint8 (count, height,
// width, channels).  Where there are labels, random ones are drawn without one.
#include "ort.hpp"

static void sample(int argc, char **argv) {
    if (argc < 4 || argc > 5) throw std::invalid_argument("usage: sample g.sampler.onnx SEED COUNT [LABEL] > pictures.raw");
    std::int64_t seed = number(argv[2], "seeds"), start = 0, count = number(argv[3], "counts");
    std::int64_t label = argc == 5 ? number(argv[4], "labels") : -1;
    if (count < 1 || count > most) throw std::invalid_argument("the count must be 1 to 4096");
    find_onnxruntime();
    const Ort::Env env(ORT_LOGGING_LEVEL_FATAL);
    Ort::Session session(env, argv[1], Ort::SessionOptions());
    const bool labels = session.GetInputCount() > 3;
    if (argc == 5 && !labels) throw std::invalid_argument(std::string("label ") + argv[4] + ": this generator has none");

    std::vector<const char *> names{"seed", "start", "count"}, outputs{"image"};
    std::vector<Ort::Value> values;
    for (std::int64_t *value : {&seed, &start, &count}) values.push_back(tensor(value, 1, {}));
    if (labels) {
        names.push_back("label");
        values.push_back(tensor(&label, 1, {1}));
    }
    const auto images = session.Run(Ort::RunOptions(), names.data(), values.data(), values.size(), outputs.data(), 1);
    write(images[0].GetTensorData<std::uint8_t>(), images[0].GetTensorTypeAndShapeInfo().GetElementCount());
}

int main(int argc, char **argv) {
    return in_a_line("sample", [&] { sample(argc, argv); });
}
