//! A picture through a generator of pictures: apply g.gan in.ppm > out.ppm.  A binary PPM is a header and RGB bytes.
mod gan;

use std::io::Write;

const MOST_SIDE: usize = 1 << 14;

struct Picture {
    height: usize,
    width: usize,
    pixels: Vec<u8>, // height x width x 3
}

/// The next number of a PPM's header, from `at` on; # begins a comment.
fn header_number(bytes: &[u8], at: &mut usize) -> Option<usize> {
    while bytes.get(*at).map_or(false, |b| b.is_ascii_whitespace() || *b == b'#') {
        let comment = bytes[*at] == b'#';
        *at += if comment { bytes[*at..].iter().position(|b| *b == b'\n')? } else { 1 };
    }
    let digits = bytes[*at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let value = std::str::from_utf8(&bytes[*at..*at + digits]).ok()?.parse().ok();
    *at += digits;
    value.filter(|n| (1..=MOST_SIDE).contains(n))
}

fn read_ppm(path: &str) -> Result<Picture, String> {
    let bytes = std::fs::read(path).map_err(|_| format!("{}: can't be read", path))?;
    if !bytes.starts_with(b"P6") {
        return Err(format!("{}: a binary PPM (P6) is needed", path));
    }
    let mut at = 2;
    let mut number = || header_number(&bytes, &mut at).ok_or(format!("{}: a size of 1 to 16384 is needed", path));
    let (width, height, most) = (number()?, number()?, number()?);
    if most != 255 {
        return Err(format!("{}: values of 0 to 255 are needed", path));
    }
    let pixels = bytes.get(at + 1..at + 1 + height * width * 3).ok_or(format!("{}: cut short", path))?;
    Ok(Picture { height, width, pixels: pixels.to_vec() })
}

/// The size that the model takes for a side of `side` pixels: it grows to a multiple, and to the least.
fn size_for(side: usize, least: u32, multiple: u32) -> usize {
    let multiple = multiple.max(1) as usize;
    (side.max(least as usize) + multiple - 1) / multiple * multiple
}

/// The picture mirrored at its right and bottom edges.
fn padded(picture: &Picture, height: usize, width: usize) -> Picture {
    let mirrored = |i: usize, n: usize| {
        let i = i % (2 * (n - 1)).max(1);
        if i < n { i } else { 2 * (n - 1) - i }
    };
    let mut pixels = Vec::with_capacity(height * width * 3);
    for y in 0..height {
        for x in 0..width {
            let from = (mirrored(y, picture.height) * picture.width + mirrored(x, picture.width)) * 3;
            pixels.extend_from_slice(&picture.pixels[from..from + 3]);
        }
    }
    Picture { height, width, pixels }
}

fn apply(file: &str, path: &str) -> Result<(), String> {
    let named = |e: gan::Error| format!("{}: {}", file, e);
    let model = gan::Model::open(file).map_err(named)?;
    let input = model.input();
    if input.channels == 0 {
        return Err(format!("{}: the model takes no pictures", file));
    }
    let picture = read_ppm(path)?;
    let height = size_for(picture.height, input.least_height, input.multiple_height);
    let width = size_for(picture.width, input.least_width, input.multiple_width);
    let whole = padded(&picture, height, width);
    let (out_height, out_width) = model
        .output_size(height as u32, width as u32)
        .map_err(|_| format!("{}: the model takes no picture of {} x {}", path, picture.width, picture.height))?;
    let mut pixels = vec![0; out_height as usize * out_width as usize * 3];
    let mut context = gan::Context::new(&model).map_err(named)?;
    context.apply(&whole.pixels, height as u32, width as u32, gan::GAN_RGB8, &mut pixels).map_err(named)?;

    let (rows, columns) =
        (picture.height * out_height as usize / height, picture.width * out_width as usize / width);
    let mut bytes = format!("P6\n{} {}\n255\n", columns, rows).into_bytes();
    for row in pixels.chunks(out_width as usize * 3).take(rows) {
        bytes.extend_from_slice(&row[..columns * 3]);
    }
    let mut out = std::io::stdout().lock();
    out.write_all(&bytes).and_then(|_| out.flush()).map_err(|_| "the pictures can't be written".into())
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let done = match words.len() {
        3 => apply(&words[1], &words[2]),
        _ => Err("usage: apply FILE.gan in.ppm > out.ppm".into()),
    };
    if let Err(line) = done {
        eprintln!("apply: {}", line);
        std::process::exit(2);
    }
}
