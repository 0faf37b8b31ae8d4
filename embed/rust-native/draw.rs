//! Pictures of a seed: draw g.gan SEED COUNT > pictures.raw, uint8 (count, height, width, channels).
mod gan;

use std::io::Write;

fn draw(file: &str, seed: u64, count: u64) -> Result<(), String> {
    let named = |e: gan::Error| format!("{}: {}", file, e);
    let model = gan::Model::open(file).map_err(named)?;
    let mut context = gan::Context::new(&model).map_err(named)?;
    let info = model.info();
    let mut pixels = vec![0; (info.channels * info.depth.max(1) * info.height * info.width) as usize];
    let mut out = std::io::stdout().lock();
    for i in 0..count {
        context.generate(seed, i, 1, gan::GAN_BYTES, &mut pixels).map_err(named)?;
        out.write_all(&pixels).map_err(|_| "the pictures can't be written")?;
    }
    out.flush().map_err(|_| "the pictures can't be written".into())
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let number = |i: usize| words.get(i).and_then(|word| word.parse().ok());
    let done = match (words.len(), number(2), number(3)) {
        (4, Some(seed), Some(count)) if count > 0 => draw(&words[1], seed, count),
        _ => Err("usage: draw FILE.gan SEED COUNT > pictures.raw, with SEED 0 to 2^64-1 and COUNT at least 1".into()),
    };
    if let Err(line) = done {
        eprintln!("draw: {}", line);
        std::process::exit(2);
    }
}
